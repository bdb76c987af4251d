package app

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/pki"
)

// checkOptions are the flags of reeve pki check.
type checkOptions struct {
	password passwordFlags
	consumer string
	which    string // a thumbprint; empty for the one that there is
	days     int
	asJSON   bool
}

func pkiCheckCommand(p *program) *cobra.Command {
	var o checkOptions
	consumers := append(texts(pki.Consumers()), "all")
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check that a certificate's file is good for its use, and not about to expire",
		Long: `check is for monitoring and for pipelines. It ends with 0 if all is well, with 7 if
something speaks against a certificate, and else with 1 if a file cannot be checked.
It prints each objection with its remedy. A file without a private key is checked as the
public half that Entra ID is given.`,
		Example: `  reeve pki check reeve.pem
  reeve pki check reeve.pfx --password-env PFX_PASSWORD --for keyvault --days 14 --json
  reeve pki check reeve.pfx --password-file reeve.password --for all`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return p.pkiCheck(cmd.Context(), args, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.consumer, "for", string(pki.EntraID), "who is to take it: entra, keyvault, appservice or all")
	complete(cmd, "for", consumers)
	f.StringVar(&o.which, "thumbprint", "", "which certificate is meant (SHA-1), where a file holds several; every file must hold it")
	f.IntVar(&o.days, "days", 30, "object to a certificate that expires in fewer days")
	o.password.flags(cmd, "", "of the files")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// checkReport is what speaks against a certificate in a file.
type checkReport struct {
	File       string      `json:"file"`
	OK         bool        `json:"ok"`
	Subject    string      `json:"subject,omitempty"`
	Thumbprint string      `json:"thumbprint,omitempty"`
	NotAfter   *time.Time  `json:"not_after,omitempty"`
	DaysLeft   int         `json:"days_left"`
	Objections []objection `json:"objections"`
}

type objection struct {
	For pki.Consumer `json:"for,omitempty"` // empty: whoever it is for
	pki.Problem
}

func (p *program) pkiCheck(ctx context.Context, args []string, o *checkOptions) error {
	consumers := pki.Consumers()
	if o.consumer != "all" {
		if err := oneOf("for", o.consumer, append(texts(consumers), "all")); err != nil {
			return err
		}
		consumers = []pki.Consumer{pki.Consumer(o.consumer)}
	}
	if o.days < 0 {
		return wrongFlag("days", fmt.Errorf("%d is less than 0", o.days))
	}
	if err := onceStdin(args, o.password); err != nil {
		return err
	}
	i := &input{program: p, ctx: ctx, passwordFlags: o.password}
	reports := []checkReport{}
	var unreadable, refused int
	for _, name := range args {
		c, err := i.read(name)
		if err == nil && o.which != "" {
			c, err = only(c, o.which)
			err = in(shownName(name), err)
		}
		var pairs []pki.Pair
		if err == nil {
			pairs, err = toCheck(c)
			err = in(shownName(name), err)
		}
		if exitCode(err) == exitUsage || ctx.Err() != nil || err != nil && len(args) == 1 && !o.asJSON {
			return err
		}
		if err != nil {
			unreadable++
			reports = append(reports, checkReport{File: shownName(name), Objections: []objection{{"", *asProblem(err)}}})
		}
		for _, pair := range pairs {
			r := o.judge(pair, c, consumers, p.now())
			r.File = shownName(name)
			if !r.OK {
				refused++
			}
			reports = append(reports, r)
		}
	}
	if o.asJSON {
		if err := printJSON(p.Out, map[string]any{"ok": unreadable+refused == 0, "certificates": reports}); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			printCheck(p.Out, r)
		}
	}
	switch {
	case refused > 0:
		return failWith(exitCheck, "%d of %d certificates are not as they should be", refused, len(reports)-unreadable)
	case unreadable > 0:
		return failWith(exitFailure, "%d of %d files cannot be checked", unreadable, len(args))
	}
	return nil
}

// toCheck gives the pair of a file, or the certificates that it is to have.
func toCheck(c *pki.Contents) ([]pki.Pair, error) {
	if len(c.Keys) > 0 {
		pair, err := c.Pair()
		return []pki.Pair{pair}, err
	}
	var pairs []pki.Pair
	for _, certificate := range leaves(c.Certificates) {
		pairs = append(pairs, pki.Pair{Certificate: certificate})
	}
	if pairs == nil {
		return nil, &pki.Problem{Cause: "there is no certificate in it", Remedy: "give a file with one; 'reeve pki show' tells what this is"}
	}
	return pairs, nil
}

func (o *checkOptions) judge(pair pki.Pair, c *pki.Contents, consumers []pki.Consumer, now time.Time) checkReport {
	d := pki.Describe(pair.Certificate, now)
	r := checkReport{Subject: d.Subject, Thumbprint: d.SHA1, NotAfter: &d.NotAfter, DaysLeft: d.DaysLeft, Objections: []objection{}}
	for _, consumer := range consumers {
		judged := pair
		if pair.Key == nil && consumer == pki.EntraID {
			judged.Key = absentKey{pair.Certificate.PublicKey}
		}
		for _, problem := range judged.Objections(consumer, c, now) {
			r.Objections = append(r.Objections, objection{consumer, problem})
		}
	}
	if d.DaysLeft < o.days && now.Before(d.NotAfter) {
		r.Objections = append(r.Objections, objection{"", pki.Problem{
			Cause:  fmt.Sprintf("certificate %v expires on %s (%s)", pair, utc(d.NotAfter), daysLeft(d.DaysLeft)),
			Remedy: "make a new one (reeve pki new), add it to the application in Entra ID beside this one, use it, and then remove this one"}})
	}
	r.OK = len(r.Objections) == 0
	return r
}

// absentKey stands for the private key of a certificate, which is somewhere else:
// Entra ID is given the public half alone.
type absentKey struct{ public crypto.PublicKey }

func (k absentKey) Public() crypto.PublicKey { return k.public }

func (absentKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the private key is somewhere else")
}

func printCheck(w io.Writer, r checkReport) {
	if r.OK {
		fmt.Fprintf(w, "%s: good: %s, thumbprint %s, until %s (%s)\n", r.File, plain(r.Subject), r.Thumbprint, utc(*r.NotAfter), daysLeft(r.DaysLeft))
		return
	}
	for _, o := range r.Objections {
		who := ""
		if o.For != "" {
			who = o.For.Title() + ": "
		}
		fmt.Fprintf(w, "%s: %s%s\n  remedy: %s\n", r.File, who, plain(o.Cause), indent(o.Remedy))
	}
}
