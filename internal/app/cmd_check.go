package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/check"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

func checkCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", GroupID: "main",
		Short: "Check that permissions and certificates really work",
		Long: `check calls Microsoft and changes nothing. It ends with 0 if all is well, with 7 if
something is missing or does not work, with 4 if signing in fails, and with 5 if nothing
is known to be wrong and not all could be seen.`,
	}
	cmd.AddCommand(checkPermissionsCommand(p), checkCertificateCommand(p))
	return cmd
}

// permissionsOptions are the flags of reeve check permissions.
type permissionsOptions struct {
	feeds                []string
	optional, allowEmpty bool
	workspace            string
	asJSON               bool
}

func checkPermissionsCommand(p *program) *cobra.Command {
	var o permissionsOptions
	cmd := &cobra.Command{
		Use:   "permissions",
		Short: "Check for each feed that its permissions are granted, in the token, and bring something",
		Long: `permissions tells for each permission of each feed whether it is granted, is in the
token, works (by a harmless call), and returns rows; with the cause of what is amiss, what
to do, and who can do it. Permissions that no feed needs are named. Feeds that this version
does not import yet are checked all the same.`,
		Example: `  reeve check permissions
  reeve check permissions --feeds audit,users,usage --optional
  reeve check permissions --feeds all --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.checkPermissions(cmd.Context(), &o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.feeds, "feeds", nil, "the feeds to check, or all; by default those that the application was set up for, or audit")
	complete(cmd, "feeds", append(permission.Names(), "all"))
	f.BoolVar(&o.optional, "optional", false, "let permissions count as well that a feed can do without")
	f.BoolVar(&o.allowEmpty, "allow-empty", false, "let answers count as well in which there is nothing")
	f.StringVar(&o.workspace, "workspace", "", "the ID of the Log Analytics workspace, for the feed web")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// chosen gives the feeds that are named, or else those that the application was set up for.
func (o *permissionsOptions) chosen(ctx context.Context, a *App) ([]permission.Feed, error) {
	names := o.feeds
	if len(names) == 0 && a.DB != nil {
		all, err := a.registrations(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range all {
			if strings.EqualFold(k.ClientID, a.Config.ClientID) {
				names = k.Feeds
			}
		}
	}
	if len(names) == 0 {
		names = []string{"audit"} // the one feed that is imported by now
	}
	feeds, err := permission.Choose(names)
	if err != nil {
		return nil, wrongFlag("feeds", err)
	}
	return feeds, nil
}

func (p *program) checkPermissions(ctx context.Context, o *permissionsOptions) error {
	c, err := p.load(true)
	if err != nil {
		return err
	}
	if _, err := permission.Choose(o.feeds); err != nil {
		return wrongFlag("feeds", err)
	}
	p.notices(c)
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	defer a.Close()
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return err
	}
	s, err := p.signInNow(ctx, a)
	if err != nil {
		return err
	}
	feeds, err := o.chosen(ctx, a)
	if err != nil {
		return err
	}
	cred, err := m365.NewCredential(a.Cloud, s, a.http)
	if err != nil {
		return coded{exitConfig, err}
	}
	report, err := check.Permissions(ctx, check.PermissionOptions{
		Cloud: a.Cloud, TenantID: c.TenantID, ClientID: c.ClientID, Credential: cred, HTTP: a.http, Now: p.now,
		Feeds: feeds, Optional: o.optional, AllowEmpty: o.allowEmpty, ContentTypes: c.Feeds.Audit.ContentTypes, Workspace: o.workspace,
	})
	if err != nil {
		return coded{exitConfig, err}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if o.asJSON {
		err = printJSON(p.Out, report)
	} else {
		err = printPermissions(p.Out, report)
	}
	if err != nil {
		return err
	}
	switch report.Outcome {
	case check.SignInFailed:
		return failWith(exitSignIn, "signing in fails; the check says why")
	case check.Missing:
		return failWith(exitCheck, "missing, or not working: %s", strings.Join(some(strings.Join(report.Missing, ", "), strings.Join(report.Unseen, ", ")), "; not seen: "))
	case check.Unseen:
		return failWith(exitSource, "whether these work could not be seen: %s", strings.Join(report.Unseen, ", "))
	}
	return nil
}

func printPermissions(w io.Writer, r *check.PermissionReport) error {
	for _, f := range r.Feeds {
		planned := ""
		if f.Planned {
			planned = " (not imported by this version)"
		}
		fmt.Fprintf(w, "%s: %s%s: %s\n", f.Name, f.Title, planned, f.State)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  permission\tgranted\tin the token\tworks\treturns rows\t")
		for _, row := range f.Rows {
			name := row.Permission
			if row.Optional {
				name += " (optional)"
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", name, row.Granted, row.InToken, row.Works, row.Rows, strings.Join(some(string(row.State), plain(row.Seen)), ": "))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		uncounted := false
		for _, row := range f.Rows {
			for _, finding := range row.Findings {
				if row.State == check.OptionalMissing || row.State == check.OptionalFailed { // nothing has to be done
					uncounted = true
					finding = check.Finding{Cause: finding.Cause}
				}
				printFinding(w, "  ", row.Permission, finding)
			}
		}
		if uncounted {
			fmt.Fprintln(w, "  optional: the feed runs without; --optional says what to do about it")
		}
	}
	for _, a := range r.APIs {
		for _, finding := range a.Findings {
			printFinding(w, "", "signing in for "+a.API, finding)
		}
	}
	if len(r.Excess) > 0 {
		fmt.Fprintln(w, "granted, and more than these feeds need:")
		for _, e := range r.Excess {
			fmt.Fprintf(w, "  %s of %s: %s\n", plain(e.Permission), plain(e.API), e.Why)
		}
	}
	for _, n := range r.Notes {
		printFinding(w, "", "note", n)
	}
	return nil
}

// some leaves out what is empty.
func some(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

func printFinding(w io.Writer, margin, about string, f check.Finding) {
	fmt.Fprintf(w, "%s%s: %s\n", margin, about, plain(f.Cause))
	for _, more := range []struct{ name, text string }{{"remedy", f.Remedy}, {"who", f.Who}, {"waiting", f.Waiting}} {
		if more.text != "" {
			fmt.Fprintf(w, "%s  %s: %s\n", margin, more.name, plain(more.text))
		}
	}
}

// certificateOptions are the flags of reeve check certificate.
type certificateOptions struct {
	vault, name string
	original    string
	set         []string
	days        int
	asJSON      bool
}

func checkCertificateCommand(p *program) *cobra.Command {
	var o certificateOptions
	cmd := &cobra.Command{
		Use:   "certificate [FILE]",
		Short: "Check the way of a certificate from where it is kept to a token, step by step",
		Long: `certificate checks the certificate with which the application signs in: one in a Key
Vault, one in a file, those that reeve looks after itself, or else that of auth.certificate.
Each step is a line: the vault and its permissions, the key, the dates, the thumbprint at
Entra ID, a token that is really obtained.

With --original or --set it is checked for the original engine as well, which wants a
certificate of a certain name and three settings. Values of settings that are secret are
not shown.`,
		Example: `  reeve check certificate
  reeve check certificate reeve.pfx
  reeve check certificate --vault https://contoso.vault.azure.net --name O365AdvancedAnalytics --original settings.json
  reeve check certificate --set UseClientCertificate=true --set WEBSITE_LOAD_USER_PROFILE=1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("one file is checked, and there are %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.checkCertificate(cmd.Context(), args, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.vault, "vault", "", "the address of the Key Vault, where it is not vault-url")
	f.StringVar(&o.name, "name", "", "the name of the certificate in the Key Vault")
	f.StringVar(&o.original, "original", "", "a file with the application settings of the original engine, as JSON or NAME=VALUE; - for standard input")
	f.StringArrayVar(&o.set, "set", nil, "a setting of the original engine, as NAME=VALUE; may be repeated")
	f.IntVar(&o.days, "days", 30, "object to a certificate that ends in fewer days")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) checkCertificate(ctx context.Context, args []string, o *certificateOptions) error {
	settings, err := o.settings(p.In)
	switch {
	case err != nil:
		return err
	case o.days < 0:
		return wrongFlag("days", fmt.Errorf("%d is less than 0", o.days))
	case len(args) > 0 && (o.vault != "" || o.name != ""):
		return failWith(exitUsage, "give a file, or --vault and --name")
	}
	elsewhere := len(args) > 0 || o.vault != "" || o.name != ""
	c, err := p.load(!elsewhere)
	if err != nil {
		return err
	}
	if c.TenantID == "" || c.ClientID == "" {
		return failWith(exitConfig, "tenant-id and client-id say for which application the certificate is: set both")
	}
	p.notices(c)
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	defer a.Close()
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return err
	}
	base := check.CertificateOptions{
		Cloud: a.Cloud, HTTP: a.http, TenantID: c.TenantID, ClientID: c.ClientID, Now: p.now, Days: o.days,
		SendChain: c.Auth.SendChain, Original: settings,
	}
	base.Resources = []string{a.Cloud.GraphAudience}
	if a.Cloud.Manage != "" {
		base.Resources = append(base.Resources, a.Cloud.ManageAudience)
	}
	all, err := p.toCheckOf(ctx, a, args, o, base)
	if err != nil {
		return err
	}
	var reports []*check.CertificateReport
	for _, each := range all {
		reports = append(reports, check.Certificate(ctx, each))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if o.asJSON {
		if err := printJSON(p.Out, reports); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			printCertificateChecks(p.Out, r)
		}
	}
	return certificateOutcome(reports)
}

func certificateOutcome(reports []*check.CertificateReport) error {
	var wrong, dark []string
	for _, r := range reports {
		for _, l := range r.Lines {
			switch l.State {
			case check.Wrong:
				wrong = append(wrong, l.Check)
			case check.Dark:
				dark = append(dark, l.Check)
			}
		}
	}
	switch {
	case len(wrong) > 0:
		return failWith(exitCheck, "not as it should be: %s", strings.Join(wrong, ", "))
	case len(dark) > 0:
		return failWith(exitSource, "could not be seen: %s", strings.Join(dark, ", "))
	}
	return nil
}

// settings reads those of the original engine; nil when none are given.
func (o *certificateOptions) settings(in io.Reader) (*check.OriginalSettings, error) {
	if o.original == "" && len(o.set) == 0 {
		return nil, nil
	}
	s := &check.OriginalSettings{}
	if o.original != "" {
		const most = 1 << 20
		if o.original != "-" {
			f, err := os.Open(o.original)
			if err != nil {
				return nil, wrongFlag("original", err)
			}
			defer f.Close()
			in = f
		}
		data, err := io.ReadAll(io.LimitReader(in, most+1))
		if err == nil && len(data) > most {
			err = errors.New("it is larger than settings can be")
		}
		if err == nil {
			s, err = check.ParseOriginal(data)
		}
		if err != nil {
			return nil, wrongFlag("original", fmt.Errorf("reading the settings %s: %w", o.original, err))
		}
	}
	for _, text := range o.set {
		if err := s.Set(text); err != nil {
			return nil, wrongFlag("set", err)
		}
	}
	return s, nil
}

// toCheckOf says which certificates are checked, and where they are.
func (p *program) toCheckOf(ctx context.Context, a *App, args []string, o *certificateOptions, base check.CertificateOptions) ([]check.CertificateOptions, error) {
	c := a.Config
	one := func(place string, get func(context.Context) (pki.Pair, error)) check.CertificateOptions {
		each := base
		each.Place, each.Pair = place, get
		return each
	}
	file := func(path string) check.CertificateOptions {
		return one(path, func(context.Context) (pki.Pair, error) {
			return certstore.File(path, c.Auth.CertificatePassword.Reveal())
		})
	}
	if len(args) > 0 {
		each := file(args[0])
		pair, err := each.Pair(ctx)
		each.Graph = graphAs(a, pair, err)
		return []check.CertificateOptions{each}, nil
	}
	ref := certstore.Reference{Kind: certstore.KindCertificate, VaultURL: o.vault, Name: o.name}
	if o.vault == "" && o.name == "" {
		if m365.Method(c.Auth.Method) != m365.MethodCertificate {
			return nil, failWith(exitConfig, "auth.method is %s, so that no certificate signs in: give a file, or --vault and --name", c.Auth.Method)
		}
		if !missing(c) {
			if err := a.open(ctx, p); err != nil {
				return nil, err
			}
			active, standby, _, err := a.ownPairs(ctx)
			if err != nil {
				return nil, err
			}
			var all []check.CertificateOptions
			for _, kept := range []struct {
				place string
				pair  pki.Pair
			}{{"looked after by reeve, active", active}, {"looked after by reeve, standby", standby}} {
				if kept.pair.Certificate != nil {
					each := one(kept.place, func(context.Context) (pki.Pair, error) { return kept.pair, nil })
					each.Graph = graphAs(a, kept.pair, nil)
					all = append(all, each)
				}
			}
			if len(all) > 0 {
				return all, nil
			}
		}
		var err error
		if ref, err = certstore.ParseReference(c.Auth.Certificate); err != nil {
			return nil, failWith(exitConfig, "auth.certificate: %w", err)
		}
	}
	if ref.Kind == certstore.KindFile {
		each := file(ref.Path)
		pair, err := each.Pair(ctx)
		each.Graph = graphAs(a, pair, err)
		return []check.CertificateOptions{each}, nil
	}
	if ref.VaultURL == "" && c.VaultURL == "" {
		return nil, failWith(exitUsage, "give the address of the Key Vault by --vault, or set vault-url")
	}
	if ref.Name == "" {
		return nil, failWith(exitUsage, "give the name of the certificate by --name; the original engine's is O365AdvancedAnalytics")
	}
	vault, err := openVault(c, ref, a.Cloud, a.http)
	if err != nil {
		return nil, err
	}
	get := vault.Get
	if ref.Kind == certstore.KindSecret {
		get = vault.Secret
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pair, err := get(bounded, ref.Name, ref.Version)
	each := base
	each.Graph = graphAs(a, pair, err)
	if ref.Kind == certstore.KindSecret {
		each.Place, each.Pair = ref.String(), func(context.Context) (pki.Pair, error) { return pair, err }
		return []check.CertificateOptions{each}, nil
	}
	each.Vault, each.Name, each.Version = vault, ref.Name, ref.Version
	return []check.CertificateOptions{each}, nil
}

// graphAs is Graph as seen by whoever signs in with the pair; nil when that is of no use.
func graphAs(a *App, pair pki.Pair, err error) *graph.Client {
	if err != nil || pair.CheckKey() != nil || a.Cloud.Graph == "" {
		return nil
	}
	s := signInAs(a.Config)
	s.Method, s.Pair = m365.MethodCertificate, pair
	cred, err := m365.NewCredential(a.Cloud, s, a.http)
	if err != nil {
		return nil
	}
	client, err := graph.New(graph.Options{Cloud: a.Cloud, Credential: cred, HTTP: a.http})
	if err != nil {
		return nil
	}
	return client
}

func printCertificateChecks(w io.Writer, r *check.CertificateReport) {
	fmt.Fprintf(w, "%s: %s\n", r.Place, r.Outcome)
	for _, l := range r.Lines {
		fmt.Fprintf(w, "  %-7s  %s\n", l.State, strings.Join(some(l.Check, plain(l.Seen)), ": "))
		if l.Finding != nil {
			printFinding(w, "           ", "cause", *l.Finding)
		}
	}
}
