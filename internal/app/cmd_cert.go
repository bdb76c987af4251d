package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

func certCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cert", GroupID: "main",
		Short: "Look after the certificates of applications: renew, prove, roll back, revoke",
		Long: `cert looks after the certificates by which applications sign in to Entra ID: reeve's
own, and any others. For each there is a certificate in use, and one that was proved
and waits. 'reeve serve' renews them by itself; these commands show what it does, and
ask for more.

An application is named by its client ID, its object ID or its name; without a name
reeve's own is meant. A certificate is named by its ID, its thumbprint, so much of
their beginning as only one has, or its state where only one has that: active, standby, draining.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(certAdoptCommand(p), certListCommand(p), certShowCommand(p), certPlanCommand(p), certRehearseCommand(p))
	for _, w := range wishes {
		cmd.AddCommand(certWishCommand(p, w))
	}
	cmd.AddCommand(certCancelCommand(p), certExportCommand(p), certImportCommand(p), certPolicyCommand(p), certHistoryCommand(p), certNotifyCommand(p), certRescueCommand(p), consumerCommand(p))
	return cmd
}

// certApp opens the database for a command that reads what is recorded, without signing
// in anywhere.
func (p *program) certApp(ctx context.Context) (*App, error) {
	c, err := p.load(false)
	if err != nil {
		return nil, err
	}
	return p.openCert(ctx, c)
}

func (p *program) openCert(ctx context.Context, c *config.Config) (*App, error) {
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	var err error
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return nil, err
	}
	if missing(c) {
		return nil, failWith(exitDatabase, "reeve looks after no application yet: there is no database %s; look at database.url, or begin by reeve cert adopt%s", c.Database.URL, lost(c))
	}
	if a.DB, a.Tenant, err = p.openDatabase(ctx, c); err != nil {
		return nil, err
	}
	a.stops = append(a.stops, a.DB.Close)
	return a, nil
}

// openCertOrScratch is openCert for a command that changes nothing and may come before
// anything is recorded: then it works on an empty database, which goes with it.
func (p *program) openCertOrScratch(ctx context.Context, c *config.Config) (*App, error) {
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	var err error
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return nil, err
	}
	if missing(c) {
		folder, err := os.MkdirTemp("", "reeve-")
		if err != nil {
			return nil, err
		}
		a.stops = append(a.stops, func() error { return os.RemoveAll(folder) })
		scratch := *c
		scratch.Credentials.Dir = keysDir(c)
		scratch.Database.URL = "sqlite:" + filepath.Join(folder, "scratch.db")
		a.Config = &scratch
	}
	if err := a.open(ctx, p); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// missing reports that the database is not there yet.
func missing(c *config.Config) bool {
	file := c.Database.File()
	if file == "" { // a server's is there, or opening it says what is wrong
		return false
	}
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}

// certLogger leaves out what the commands tell in their own words: what goes well, and
// steps that fail, which they tell out of the journal.
func (p *program) certLogger(c *config.Config) *slog.Logger {
	quiet := *c
	if quiet.Log.Level == "info" {
		quiet.Log.Level = "warn"
	}
	return slog.New(without{logger(p.Err, &quiet).Handler(), rotate.StepFailed})
}

// without leaves one message out of a log.
type without struct {
	slog.Handler
	message string
}

func (h without) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.message {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h without) WithAttrs(all []slog.Attr) slog.Handler {
	return without{h.Handler.WithAttrs(all), h.message}
}

func (h without) WithGroup(name string) slog.Handler {
	return without{h.Handler.WithGroup(name), h.message}
}

// certAppSignedIn is certApp for a command that calls Microsoft. That reeve cannot sign
// in is said, and is no reason not to go on: much works without.
func (p *program) certAppSignedIn(ctx context.Context) (*App, error) {
	c, err := p.load(true)
	if err != nil {
		return nil, err
	}
	a, err := p.openCert(ctx, c)
	if err != nil {
		return nil, err
	}
	p.trySignIn(ctx, a)
	return a, nil
}

// trySignIn prepares signing in, and says why if that cannot be.
func (p *program) trySignIn(ctx context.Context, a *App) {
	if err := a.signIn(ctx); err != nil {
		a.Credential = nil
		fmt.Fprintf(p.Err, "note: reeve itself cannot sign in, so that Graph cannot be read: %v\n", err)
		if text := remedy(err); text != "" {
			fmt.Fprintf(p.Err, "  remedy: %s\n", indent(text))
		}
	}
}

// planner is a Rotator that plans, and carries nothing out.
func (a *App) planner() *rotate.Rotator {
	return rotate.New(rotate.Options{DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http,
		Rhythm: credential.Rhythm{Look: a.Config.Credentials.Interval}, Now: a.now, Log: a.log})
}

// chosen is what the arguments of a command name.
type chosen struct {
	credential.Application
	named *credential.Credential // nil if none was named
}

// choose finds the application that the arguments name, and the certificate if they
// name one. A certificate alone tells its application.
func (a *App) choose(ctx context.Context, args []string) (chosen, error) {
	all, err := a.DB.Applications(ctx, a.Tenant)
	if err != nil {
		return chosen{}, err
	}
	if len(args) == 0 {
		own, err := a.ownAmong(all)
		return chosen{Application: own}, err
	}
	app, err := oneApplication(all, args[0])
	if err != nil && len(args) == 1 && slices.Contains(credential.States(), credential.State(args[0])) {
		own, err := a.ownAmong(all)
		if err != nil {
			return chosen{}, err
		}
		c, err := oneCredential(own, args[0])
		return chosen{own, &c}, err
	}
	if err != nil && len(args) == 1 && !errors.Is(err, errAmbiguous) {
		var found []chosen
		for _, app := range all {
			if c, ok := app.Find(args[0]); ok {
				found = append(found, chosen{app, &c})
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			var names []string
			for _, f := range found {
				names = append(names, fmt.Sprintf("%s of %s (%s)", nameOf(*f.named), plain(f.Name), f.ClientID))
			}
			return chosen{}, fmt.Errorf("%d applications have a certificate that %q names, say which: %s", len(found), args[0], strings.Join(names, ", "))
		}
	}
	if err != nil || len(args) == 1 {
		return chosen{Application: app}, err
	}
	c, err := oneCredential(app, args[1])
	return chosen{app, &c}, err
}

// ownAmong finds reeve's own application.
func (a *App) ownAmong(all []credential.Application) (credential.Application, error) {
	if a.Config.ClientID == "" {
		return credential.Application{}, failWith(exitUsage, "which application? Name one%s; without a name reeve's own is meant, and client-id is not set", namesOf(all))
	}
	for _, app := range all {
		if strings.EqualFold(app.ClientID, a.Config.ClientID) {
			return app, nil
		}
	}
	return credential.Application{}, fmt.Errorf("reeve's own application %s is not looked after yet: reeve cert adopt%s", a.Config.ClientID, namesOf(all))
}

// errAmbiguous says that a name has several bearers.
var errAmbiguous = errors.New("several are meant")

// oneApplication finds an application by client ID, object ID or name.
func oneApplication(all []credential.Application, name string) (credential.Application, error) {
	var found []credential.Application
	for _, app := range all {
		if strings.EqualFold(app.ClientID, name) || strings.EqualFold(app.ObjectID, name) || strings.EqualFold(app.Name, name) {
			found = append(found, app)
		}
	}
	switch len(found) {
	case 0:
		return credential.Application{}, fmt.Errorf("reeve looks after no application %q%s", name, namesOf(all))
	case 1:
		return found[0], nil
	}
	return credential.Application{}, fmt.Errorf("%q is the name of %d applications, say which by its client ID%s: %w", name, len(found), namesOf(found), errAmbiguous)
}

// namesOf lists applications at the end of an error.
func namesOf(all []credential.Application) string {
	const most = 20
	if len(all) == 0 {
		return "; there is none yet: reeve cert adopt"
	}
	var names []string
	for i, app := range all {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more: reeve cert list", len(all)-most))
			break
		}
		names = append(names, fmt.Sprintf("%s (%s)", plain(app.Name), app.ClientID))
	}
	return "; there are: " + strings.Join(names, ", ")
}

// oneCredential finds a certificate of an application.
func oneCredential(app credential.Application, name string) (credential.Credential, error) {
	if c, ok := app.Find(name); ok {
		return c, nil
	}
	if in := app.In(credential.State(name)); len(in) == 1 {
		return in[0], nil
	}
	meant := slices.DeleteFunc(app.In(credential.States()...), func(c credential.Credential) bool {
		return c.State != credential.State(name) && !begins(c.ID, name) && !begins(c.SHA1, name) && !begins(c.SHA256, name)
	})
	switch len(meant) {
	case 0:
		return credential.Credential{}, fmt.Errorf("application %s has no certificate %q%s", plain(app.Name), name, credentialsOf(app))
	case 1:
		return credential.Credential{}, fmt.Errorf("%q is too short for the name of a certificate: %s (%s) may be meant; write more of it", name, nameOf(meant[0]), meant[0].State)
	}
	var names []string
	for _, c := range meant {
		names = append(names, fmt.Sprintf("%s (%s)", nameOf(c), c.State))
	}
	return credential.Credential{}, fmt.Errorf("application %s has %d certificates that %q names, say which: %s", plain(app.Name), len(meant), name, strings.Join(names, ", "))
}

// begins reports that a thumbprint or an ID begins with so much of it.
func begins(s, with string) bool {
	return with != "" && len(s) >= len(with) && strings.EqualFold(s[:len(with)], with)
}

// credentialsOf lists the certificates of an application at the end of an error.
func credentialsOf(app credential.Application) string {
	var names []string
	for _, c := range app.In(credential.States()...) {
		if c.State != credential.Destroyed {
			names = append(names, fmt.Sprintf("%s (%s)", nameOf(c), c.State))
		}
	}
	if len(names) == 0 {
		return "; it has none"
	}
	return "; there are: " + strings.Join(names, ", ")
}

// gone reports whether Entra ID, when it was looked at last, had one no more that was
// replaced and is meant to be usable still.
func gone(app credential.Application, c credential.Credential) bool {
	return c.State == credential.Draining && app.Observed.At.After(c.Registered) && !app.Observed.Blind &&
		!slices.ContainsFunc(app.Observed.Keys, func(k credential.ObservedKey) bool { return k.Ours == c.ID })
}

// nameOf is a certificate's thumbprint, or its ID while it has none.
func nameOf(c credential.Credential) string { return cmp.Or(c.SHA1, c.ID) }

// short is so much of a thumbprint as a line of a table has room for.
func short(s string) string { return s[:min(len(s), 12)] }

// applicationArgs takes up to n arguments: an application, and a certificate of it.
func applicationArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			what := "one application"
			if n > 1 {
				what = "one application, and one certificate of it"
			}
			return fmt.Errorf("%s takes %s, and got %d arguments; put a name with blanks in quotes", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// completeApplication completes the names of applications, and then of certificates.
func (p *program) completeApplication(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	a, err := p.certApp(cmd.Context())
	if err != nil {
		return nil, none
	}
	defer a.Close()
	if len(args) == 1 {
		app, err := a.choose(cmd.Context(), args)
		if err != nil {
			return nil, none
		}
		var all []string
		for _, c := range app.In(credential.States()...) {
			all = append(all, fmt.Sprintf("%s\t%s, until %s", nameOf(c), c.State, c.NotAfter.Format(time.DateOnly)))
		}
		return all, none
	}
	apps, err := a.DB.Applications(cmd.Context(), a.Tenant)
	if err != nil || len(args) > 1 {
		return nil, none
	}
	var all []string
	for _, app := range apps {
		all = append(all, app.ClientID+"\t"+app.Name, app.Name+"\t"+app.ClientID)
	}
	return all, none
}

// applicationReport is how the certificates of an application stand.
type applicationReport struct {
	Name     string          `json:"name"`
	ClientID string          `json:"client_id"`
	ObjectID string          `json:"object_id"`
	TenantID string          `json:"tenant_id"`
	Mode     credential.Mode `json:"mode"`
	Own      bool            `json:"own"`

	Active   *credential.Credential `json:"active,omitempty"`
	Standby  *credential.Credential `json:"standby,omitempty"`
	Drains   *time.Time             `json:"drains,omitempty"` // when the last of those that were replaced stops being usable, at the earliest
	Next     *stepReport            `json:"next,omitempty"`
	Findings []assessment           `json:"findings"`

	application credential.Application
	steps       []credential.Step
}

// assessment is a finding about an application's certificates.
type assessment struct {
	Rule       string              `json:"rule"`
	Severity   credential.Severity `json:"severity"`
	Credential string              `json:"credential,omitempty"`
	Key        string              `json:"key,omitempty"`
	Message    string              `json:"message"`
	Remedy     string              `json:"remedy"`
}

// stepReport is a step that is planned.
type stepReport struct {
	At          time.Time         `json:"at"`
	Action      credential.Action `json:"action"`
	Credential  string            `json:"credential,omitempty"`
	SHA1        string            `json:"sha1,omitempty"`
	Hook        string            `json:"hook,omitempty"`
	Why         string            `json:"why"`
	Emergency   bool              `json:"emergency"`
	Times       int               `json:"times,omitempty"`
	Application string            `json:"application,omitempty"`
	Requests    []rotate.Request  `json:"requests,omitempty"`
}

// report assesses an application, and plans for it.
func (a *App) report(app credential.Application) applicationReport {
	now := a.now()
	r := applicationReport{Name: app.Name, ClientID: app.ClientID, ObjectID: app.ObjectID, TenantID: app.TenantID, Mode: app.Mode,
		Own: strings.EqualFold(app.ClientID, a.Config.ClientID), Findings: []assessment{}, application: app, steps: a.planner().Steps(app)}
	if c, ok := app.Active(); ok {
		r.Active = &c
	}
	if c, ok := app.Standby(); ok {
		r.Standby = &c
	}
	for _, c := range app.In(credential.Draining) {
		if !c.DrainUntil.IsZero() && (r.Drains == nil || c.DrainUntil.After(*r.Drains)) {
			r.Drains = &c.DrainUntil
		}
	}
	for _, f := range credential.Assess(now, app) {
		r.Findings = append(r.Findings, assessment{f.Rule, f.Severity, f.Credential, f.Key, f.Message, f.Remedy})
	}
	if i := slices.IndexFunc(r.steps, func(s credential.Step) bool { return !routine(app, s) }); i >= 0 {
		next := reportStep(app, r.steps[i])
		r.Next = &next
	}
	return r
}

// routine reports whether a step only looks at what is there.
func routine(app credential.Application, s credential.Step) bool {
	c, _ := app.Find(s.Credential)
	return s.Action == credential.Look || s.Action == credential.Prove && (c.State == credential.Active || c.State == credential.Standby)
}

func reportStep(app credential.Application, s credential.Step) stepReport {
	c, _ := app.Find(s.Credential)
	return stepReport{At: s.At.UTC(), Action: s.Action, Credential: s.Credential, SHA1: c.SHA1, Hook: s.Hook, Why: s.Why, Emergency: s.Emergency}
}

// what names a step in a line.
func (s stepReport) what() string {
	text := string(s.Action)
	if s.Hook != "" {
		text += " " + s.Hook
	}
	switch {
	case s.SHA1 != "":
		text += " " + short(s.SHA1)
	case strings.HasPrefix(s.Credential, "new-"):
		text += " the new one"
	case s.Credential != "":
		text += " " + s.Credential
	}
	if s.Times > 1 {
		text += fmt.Sprintf(" (%d times)", s.Times)
	}
	return text
}

// when tells a time and how far it is off.
func when(at, now time.Time) string {
	switch d := at.Sub(now); {
	case d <= time.Second:
		return "now"
	case d < time.Hour:
		return "in " + d.Round(time.Second).String()
	default:
		return utc(at)
	}
}

// policyLines are a policy's members, as flags name them.
func policyLines(p credential.Policy) [][2]string {
	list := func(s []string) string {
		if len(s) == 0 {
			return "-"
		}
		return strings.Join(s, ", ")
	}
	var days, windows []string
	for _, d := range p.NoticeDays {
		days = append(days, fmt.Sprint(d))
	}
	for _, w := range p.Windows {
		windows = append(windows, w.String())
	}
	return [][2]string{
		{"lifetime", p.Lifetime.String()}, {"renew-before", p.RenewBefore.String()}, {"overlap", p.Overlap.String()},
		{"key-type", string(p.KeyType)}, {"subject", p.Subject}, {"issuer", p.Issuer}, {"store", p.Store},
		{"target", list(p.Targets)}, {"hook", list(p.Hooks)}, {"resource", list(p.Resources)},
		{"notice-days", list(days)}, {"notify", list(p.Notify)}, {"window", list(windows)}, {"destroy-after", p.DestroyAfter.String()},
	}
}

func printPolicy(w io.Writer, p credential.Policy) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range policyLines(p) {
		if line[0] == "overlap" {
			line[1] = overlapLine(p)
		}
		fmt.Fprintf(t, "  %s\t%s\n", line[0], plain(line[1]))
	}
	t.Flush()
}

// printFindings prints what is wrong with what to do.
func printFindings(w io.Writer, found []assessment) {
	for _, f := range found {
		fmt.Fprintf(w, "  %s: %s\n    remedy: %s\n", f.Severity, plain(f.Message), plain(f.Remedy))
	}
}

// counted is a number with what it counts.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// requestPrinter prints requests as they would be sent, and gives each a number, by which
// it is named when it comes again. Who signs may differ.
type requestPrinter map[string]int

func (p requestPrinter) print(w io.Writer, all []rotate.Request) {
	for _, r := range all {
		key := fmt.Sprint(r.Method, r.URL, r.Header, r.Body)
		number, again := p[key]
		if !again {
			number = len(p) + 1
			p[key] = number
		}
		fmt.Fprintf(w, "      [%d] %s %s\n", number, r.Method, r.URL)
		if r.Note != "" {
			fmt.Fprintf(w, "        # %s\n", plain(r.Note))
		}
		if again {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(w, "        %s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
		if r.Body != "" {
			fmt.Fprintf(w, "        %s\n", plain(r.Body))
		}
	}
}

// printEntry prints a line of the journal.
func printEntry(w io.Writer, e store.JournalEntry, app credential.Application) {
	name := ""
	if c, ok := app.Find(e.Credential); ok {
		name = " " + short(nameOf(c))
	}
	line := fmt.Sprintf("%s  %-11s %-6s%s  %s", e.At.UTC().Format("2006-01-02 15:04:05"), e.Step, e.Outcome, name, plain(e.Text))
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// publicPair is the certificate that a credential has, and its issuers, without the key.
func publicPair(c credential.Credential) (pki.Pair, error) {
	var chain []*x509.Certificate
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return pki.Pair{}, fmt.Errorf("reading the certificate of credential %s from the database: %w", c.ID, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return pki.Pair{}, fmt.Errorf("credential %s has no certificate yet: it is %s", c.ID, c.State)
	}
	return pki.Pair{Certificate: chain[0], Chain: chain[1:]}, nil
}
