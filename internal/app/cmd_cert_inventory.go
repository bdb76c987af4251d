package app

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
)

// inventoryOptions are the flags of reeve cert list --all.
type inventoryOptions struct {
	within     string
	principals bool
}

func (o *inventoryOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.within, "within", "90d", "with --all: list what ends within this time, as 90d, and what has ended")
	cmd.Flags().BoolVar(&o.principals, "service-principals", false, "with --all: service principals as well, which have the certificates that sign SAML tokens")
}

// expiry is a certificate or a client secret that has ended or soon will.
type expiry struct {
	Ends     time.Time       `json:"ends"`
	Expired  bool            `json:"expired"`
	Object   string          `json:"object"` // application or service principal
	ObjectID string          `json:"object_id"`
	ClientID string          `json:"client_id"`
	Name     string          `json:"name"`
	Kind     string          `json:"kind"` // certificate, client secret, SAML signing certificate
	KeyID    string          `json:"key_id"`
	KeyName  string          `json:"key_name,omitempty"`
	SHA1     string          `json:"sha1,omitempty"` // of a certificate, as far as a list of Graph's says it
	Mode     credential.Mode `json:"mode,omitempty"` // of an application that reeve looks after
	Ours     bool            `json:"ours"`           // it is a certificate of reeve's
}

// maxExpiries bounds the memory for what is listed. What does not end soon is not kept.
const maxExpiries = 100_000

// inventory collects what ends soon while a listing goes on.
type inventory struct {
	until, now time.Time
	managed    map[string]credential.Application // by object ID
	seen       map[string]bool                   // an object may be listed twice
	all        []expiry
	objects    int
}

func (p *program) certInventory(ctx context.Context, o *inventoryOptions, asJSON bool) error {
	within, err := credential.ParseSpan(o.within)
	if err != nil {
		return wrongFlag("within", err)
	}
	c, err := p.load(true)
	if err != nil {
		return err
	}
	a, err := p.openCertOrScratch(ctx, c)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.signIn(ctx); err != nil && c.Credentials.Manager == "application" {
		return err
	}
	directory, err := a.directory()
	if err != nil {
		return err
	}
	i := &inventory{now: p.now(), managed: map[string]credential.Application{}, seen: map[string]bool{}}
	i.until = i.now.Add(time.Duration(within))
	apps, err := a.DB.Applications(ctx, a.Tenant)
	if err != nil {
		return err
	}
	for _, app := range apps {
		i.managed[strings.ToLower(app.ObjectID)] = app
	}
	if err := i.read(ctx, directory, o.principals); err != nil {
		return fmt.Errorf("the list would not be complete, and is not shown, after %d objects: %w", i.objects, err)
	}
	took := p.now().Sub(i.now)
	slices.SortFunc(i.all, func(x, y expiry) int {
		return cmp.Or(x.Ends.Compare(y.Ends), strings.Compare(x.Name, y.Name), strings.Compare(x.KeyID, y.KeyID))
	})
	if asJSON {
		if i.all == nil {
			i.all = []expiry{}
		}
		return printJSON(p.Out, i.all)
	}
	i.print(p, o.principals, took, within)
	return nil
}

// read lists all objects, one after the other, and keeps what ends soon.
func (i *inventory) read(ctx context.Context, directory *graph.Client, principals bool) error {
	if err := each(directory.Applications(ctx), func(app graph.Application) error {
		i.objects++
		return i.add(expiry{Object: "application", ObjectID: app.ObjectID, ClientID: app.ClientID, Name: app.Name}, app.Keys, app.Passwords, "")
	}); err != nil || !principals {
		return err
	}
	return each(directory.ServicePrincipals(ctx), func(s graph.ServicePrincipal) error {
		i.objects++
		return i.add(expiry{Object: "service principal", ObjectID: s.ObjectID, ClientID: s.ClientID, Name: s.Name}, s.Keys, s.Passwords, s.SigningThumbprint)
	})
}

func each[T any](all iter.Seq2[T, error], f func(T) error) error {
	for one, err := range all {
		if err != nil {
			return err
		}
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

// add keeps what of an object ends soon. Of a certificate that signs SAML tokens Entra ID
// has a key to sign with, one to verify with and a password: it is listed once.
func (i *inventory) add(about expiry, keys []graph.KeyCredential, passwords []graph.Password, signing string) error {
	app, managed := i.managed[strings.ToLower(about.ObjectID)]
	if managed {
		about.Mode = app.Mode
	}
	signs := func(k graph.KeyCredential) bool {
		return k.Usage == "Sign" || signing != "" && strings.EqualFold(hex.EncodeToString(k.Identifier), signing)
	}
	pairs := map[string]bool{} // what is listed of a pair of keys
	for _, k := range keys {
		e := about
		e.Kind, e.KeyID, e.KeyName, e.Ends, e.SHA1 = "certificate", k.KeyID, k.Name, k.End, thumbprintOf(k)
		if about.Object == "service principal" && slices.ContainsFunc(keys, func(x graph.KeyCredential) bool {
			return signs(x) && string(x.Identifier) == string(k.Identifier)
		}) {
			e.Kind = "SAML signing certificate"
			twin := string(k.Identifier) + k.End.String()
			if pairs[twin] {
				continue
			}
			pairs[twin] = true
		}
		e.Ours = slices.ContainsFunc(app.Observed.Keys, func(o credential.ObservedKey) bool { return o.Ours != "" && o.KeyID == k.KeyID })
		for _, c := range app.Credentials {
			e.Ours = e.Ours || c.KeyID != "" && strings.EqualFold(c.KeyID, k.KeyID)
			if pair, err := publicPair(c); err == nil && (c.KeyID != "" && strings.EqualFold(c.KeyID, k.KeyID) || k.IsFor(pair.Certificate)) { // by its thumbprint: a list has no more
				e.Ours, e.SHA1 = true, c.SHA1
			}
		}
		if err := i.keep(e); err != nil {
			return err
		}
	}
	for _, s := range passwords {
		e := about
		e.Kind, e.KeyID, e.KeyName, e.Ends = "client secret", s.KeyID, s.Name, s.End
		if about.Object == "service principal" && len(pairs) > 0 {
			e.Kind = "password of a SAML signing certificate"
		}
		if err := i.keep(e); err != nil {
			return err
		}
	}
	return nil
}

// thumbprintOf is a certificate's SHA-1, from itself or from its identifier, where that is
// one: binary, or in digits, which a tool may have taken for base64.
func thumbprintOf(k graph.KeyCredential) string {
	if cert := certificateIn(k); cert != nil {
		return pki.SHA1(cert)
	}
	for _, digits := range []string{hex.EncodeToString(k.Identifier), string(k.Identifier), base64.StdEncoding.EncodeToString(k.Identifier)} {
		if b, err := hex.DecodeString(digits); err == nil && len(b) == sha1.Size {
			return strings.ToUpper(digits)
		}
	}
	return ""
}

func (i *inventory) keep(e expiry) error {
	if e.Ends.After(i.until) {
		return nil
	}
	id := e.ObjectID + "/" + e.KeyID
	if i.seen[id] {
		return nil
	}
	if len(i.all) == maxExpiries {
		return fmt.Errorf("more than %d certificates and secrets end until %s: choose a shorter --within", maxExpiries, i.until.Format(time.DateOnly))
	}
	i.seen[id] = true
	e.Ends, e.Expired = e.Ends.UTC(), !i.now.Before(e.Ends)
	i.all = append(i.all, e)
	return nil
}

func (i *inventory) print(p *program, principals bool, took time.Duration, within credential.Span) {
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	if len(i.all) > 0 {
		fmt.Fprintln(t, "ENDS\tWHAT\tOF\tCLIENT ID\tKEY\tTHUMBPRINT\tREEVE")
	}
	for _, e := range i.all {
		ends, by := e.Ends.Format(time.DateOnly), "-"
		if e.Expired {
			ends += " (expired)"
		}
		switch {
		case e.Ours:
			by = string(e.Mode)
		case e.Mode != "":
			by = "not reeve's"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", ends, e.Kind, plain(e.Name), e.ClientID, plain(cmp.Or(e.KeyName, e.KeyID)), cmp.Or(e.SHA1, "-"), by)
	}
	t.Flush()
	what, found := counted(i.objects, "application"), fmt.Sprintf("%d certificates and secrets have expired or end", len(i.all))
	if principals {
		what = fmt.Sprintf("%d applications and service principals", i.objects)
	}
	if len(i.all) == 1 {
		found = "1 certificate or secret has expired or ends"
	}
	fmt.Fprintf(p.Err, "Of %s, read to the end in %s, %s within %v.\n", what, took.Round(time.Millisecond), found, within)
}
