package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// policyFlags are the members of a policy. Only those that are given change anything.
type policyFlags struct {
	lifetime, renewBefore, overlap, destroyAfter string
	keyType, subject, issuer, store              string
	targets, hooks, resources, notify, windows   []string
	noticeDays                                   string
}

// nothing empties a list.
const nothing = "none"

func (o *policyFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.lifetime, "lifetime", "", "how long a certificate is valid, 30d to 1095d (default 180d)")
	f.StringVar(&o.renewBefore, "renew-before", "", "how long before its end it is replaced: 1d to 365d, or a share of the lifetime such as 1/3 (default 1/3)")
	f.StringVar(&o.overlap, "overlap", "", "how long the replaced one stays usable (default 7d)")
	f.StringVar(&o.keyType, "key-type", "", "the kind of key: rsa-2048, rsa-3072, rsa-4096 (default rsa-2048)")
	f.StringVar(&o.subject, "subject", "", "whom certificates name, with {name}, {client-id}, {tenant-id} (default CN={name})")
	f.StringVar(&o.issuer, "issuer", "", "who signs them: self, or request for an authority of yours (default self)")
	f.StringVar(&o.store, "store", "", "what keeps the private keys: local, keyvault-secrets, keyvault-keys (default local)")
	f.StringArrayVar(&o.targets, "target", nil, "a live place to publish to: keyvault:NAME, directory:PATH (repeatable; none for none)")
	f.StringArrayVar(&o.hooks, "hook", nil, "what to run when a certificate has become the one in use: command:/PATH ARGUMENT..., webhook:/FILE (repeatable; none for none)")
	f.StringArrayVar(&o.resources, "resource", nil, "what tokens prove a certificate: graph, manage, vault, logs, or a URI (repeatable; default graph)")
	f.StringVar(&o.noticeDays, "notice-days", "", "how many days before the end somebody is told (default 30,14,7,1)")
	f.StringArrayVar(&o.notify, "notify", nil, "whom to tell, besides the log: mail:ADDRESS, webhook, as configured; log for nobody else (repeatable; none for all that are configured)")
	f.StringArrayVar(&o.windows, "window", nil, `when certificates may be promoted or retired: "Sat,Sun 02:00-06:00 Europe/Berlin" (repeatable; none for always)`)
	f.StringVar(&o.destroyAfter, "destroy-after", "", "how long the private key of a retired certificate is kept (default 30d)")
	complete(cmd, "key-type", []string{string(pki.RSA2048), string(pki.RSA3072), string(pki.RSA4096)})
	complete(cmd, "issuer", []string{credential.IssuerSelf, credential.IssuerRequest})
	complete(cmd, "store", []string{credential.StoreLocal, credential.StoreSecrets, credential.StoreKeys})
	complete(cmd, "resource", []string{"graph", "manage", "vault", "logs"})
	complete(cmd, "target", []string{"directory:", "keyvault:", nothing})
	complete(cmd, "hook", []string{"command:", "webhook:", nothing})
	for _, name := range []string{"lifetime", "renew-before", "overlap", "subject", "notice-days", "notify", "window", "destroy-after"} {
		complete(cmd, name, nil)
	}
}

// apply changes of a policy what was given.
func (o *policyFlags) apply(cmd *cobra.Command, cloud m365.Cloud, p *credential.Policy) error {
	var errs []error
	given := func(name string, set func() error) {
		if cmd.Flags().Changed(name) {
			if err := set(); err != nil {
				errs = append(errs, wrongFlag(name, err))
			}
		}
	}
	span := func(to *credential.Span, s string) func() error {
		return func() (err error) { *to, err = credential.ParseSpan(s); return err }
	}
	text := func(to *string, s string) func() error { return func() error { *to = s; return nil } }
	given("lifetime", func() error {
		if n, err := strconv.Atoi(o.lifetime); err == nil && n < 1 {
			return fmt.Errorf("%d is no lifetime: write 30d to 1095d", n) // and not 0d
		}
		return span(&p.Lifetime, o.lifetime)()
	})
	given("overlap", span(&p.Overlap, o.overlap))
	given("destroy-after", span(&p.DestroyAfter, o.destroyAfter))
	given("renew-before", func() (err error) { p.RenewBefore, err = credential.ParseBefore(o.renewBefore); return err })
	given("key-type", func() error { p.KeyType = pki.KeyType(o.keyType); return nil })
	given("subject", text(&p.Subject, o.subject))
	given("issuer", text(&p.Issuer, o.issuer))
	given("store", text(&p.Store, o.store))
	given("hook", func() error {
		p.Hooks = listed(o.hooks)
		for _, hook := range p.Hooks {
			if err := rotate.ParseHook(hook); err != nil {
				return err
			}
		}
		return nil
	})
	given("notify", func() error { p.Notify = listed(o.notify); return nil })
	given("target", func() error {
		p.Targets = listed(o.targets)
		for _, t := range p.Targets {
			if _, err := certstore.ParseTarget(t); err != nil {
				return err
			}
		}
		return nil
	})
	given("resource", func() error {
		p.Resources = nil
		for _, r := range listed(o.resources) {
			p.Resources = append(p.Resources, resourceOf(cloud, r))
		}
		if len(p.Resources) == 0 {
			return errors.New("without a resource nothing would prove a certificate: name one")
		}
		return nil
	})
	given("window", func() error {
		p.Windows = nil
		for _, s := range listed(o.windows) {
			w, err := credential.ParseWindow(s)
			if err != nil {
				return err
			}
			p.Windows = append(p.Windows, w)
		}
		return nil
	})
	given("notice-days", func() error {
		p.NoticeDays = nil
		for _, s := range strings.Split(o.noticeDays, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil {
				return fmt.Errorf("%q is no number of days: write 30,14,7,1", s)
			}
			if !slices.Contains(p.NoticeDays, n) {
				p.NoticeDays = append(p.NoticeDays, n)
			}
		}
		return nil
	})
	return errors.Join(errs...)
}

// listed is a list that the word none empties.
func listed(given []string) []string {
	return slices.DeleteFunc(slices.Clone(given), func(s string) bool { return s == nothing || s == "" })
}

// resourceOf is a resource by its short name, or as it is.
func resourceOf(cloud m365.Cloud, name string) string {
	short := map[string]string{"graph": cloud.GraphAudience, "manage": cloud.ManageAudience, "vault": cloud.VaultAudience, "logs": cloud.LogsAudience}
	if audience, ok := short[name]; ok {
		return audience
	}
	return name
}

// checkPolicy reports everything for which a policy cannot work here.
func (a *App) checkPolicy(p credential.Policy) []error {
	c, errs := a.Config, p.Check()
	if p.Store != credential.StoreLocal && c.VaultURL == "" {
		errs = append(errs, fmt.Errorf("store is %s, and vault-url is not set in the configuration", p.Store))
	}
	errs = append(errs, a.checkTargets(p.Targets)...)
	for _, hook := range p.Hooks {
		if err := rotate.CheckHook(hook); err != nil {
			errs = append(errs, err)
		}
	}
	return append(errs, a.checkNotify(p.Notify)...)
}

// checkTargets reports to which of the targets of a policy nothing can be published here.
func (a *App) checkTargets(names []string) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := map[string]string{} // by the place
	for _, name := range names {
		ref, err := certstore.ParseTarget(name)
		if err == nil {
			err = ref.Check(a.Cloud)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		place := realPath(ref.Path)
		if ref.Kind == certstore.TargetKeyVault {
			vault := cmp.Or(ref.VaultURL, a.Config.VaultURL)
			if vault == "" {
				fail("target %s names no vault, and vault-url is not set in the configuration", name)
				continue
			}
			place = strings.ToLower(strings.TrimSuffix(vault, "/") + "/" + ref.Name)
		} else if held := a.heldIn(place); held != "" {
			fail("target %s is where reeve keeps %s, which programs are not to get at: name a folder for the certificate alone", name, held)
		}
		if first, again := seen[place]; again {
			fail("targets %s and %s are one and the same place: leave one out", first, name)
		}
		seen[place] = name
	}
	return errs
}

// heldIn says what of reeve's own a folder holds; empty if nothing.
func (a *App) heldIn(folder string) string {
	holds := func(outer, inner string) bool {
		within, err := filepath.Rel(outer, inner)
		return err == nil && filepath.IsLocal(within)
	}
	keys := realPath(keysDir(a.Config))
	switch file := a.Config.Database.File(); {
	case holds(keys, folder), holds(folder, keys):
		return "private keys (" + keys + ")"
	case file != "" && holds(folder, realPath(file)):
		return "the database (" + file + ")"
	}
	return ""
}

// realPath is a path from the root, through the links on it, as far as it is there.
func realPath(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if to, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
		return cmp.Or(to, path)
	}
	return filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path))
}

// checkNotify reports who of those that a policy names cannot be told.
func (a *App) checkNotify(names []string) []error {
	if len(names) == 0 {
		return nil
	}
	sender, err := a.notifier(nil)
	if err != nil {
		return []error{err}
	}
	known := []string{"log"}
	for _, t := range sender.Targets {
		known = append(known, t.Name())
	}
	var errs []error
	for _, name := range names {
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("notify is %q, and nobody is told by that name: of notify.mail and notify.webhook in the configuration there are %s", name, strings.Join(known, ", ")))
		}
	}
	return errs
}

// overlapLine says how long a replaced certificate stays usable, and why that is longer
// than the policy's overlap where it is.
func overlapLine(p credential.Policy) string {
	in := credential.Span(p.Drain())
	if in == p.Overlap {
		return p.Overlap.String()
	}
	alone := p
	alone.Targets = nil
	why := "a token that was obtained with the old one is good for so long"
	if in > credential.Span(alone.Drain()) {
		why = "programs may get the old one from a Key Vault for 24h, and a token is good for 1h30m after that"
	}
	return fmt.Sprintf("%v (%v was given: %s)", in, p.Overlap, why)
}

func certPolicyCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "How the certificates of an application live: lifetime, overlap, live places, windows",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(certPolicyShowCommand(p), certPolicySetCommand(p), certPolicyCheckCommand(p))
	return cmd
}

func certPolicyShowCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [APP]",
		Short: "Print the policy of an application",
		Example: `  reeve cert policy show
  reeve cert policy show reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withApplication(cmd.Context(), args, func(a *App, app credential.Application) error {
				if asJSON {
					return printJSON(p.Out, map[string]any{"application": app.Name, "client_id": app.ClientID, "mode": app.Mode, "policy": app.Policy, "overlap_in_effect": credential.Span(app.Policy.Drain())})
				}
				fmt.Fprintf(p.Out, "%s, mode %s\n", plain(app.Name), app.Mode)
				printPolicy(p.Out, app.Policy)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// withApplication runs f on the application that the arguments name.
func (p *program) withApplication(ctx context.Context, args []string, f func(*App, credential.Application) error) error {
	a, err := p.certApp(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	return f(a, app.Application)
}

func certPolicyCheckCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [APP]",
		Short: "Say whether the policy of an application can work here",
		Long: `check says everything for which the policy cannot work with this configuration, and
then ends with the exit code 7. Whether the places it names can be reached is tried by
reeve cert rehearse.`,
		Example: `  reeve cert policy check
  reeve cert policy check reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withApplication(cmd.Context(), args, func(a *App, app credential.Application) error {
				problems := []string{}
				for _, err := range a.checkPolicy(app.Policy) {
					problems = append(problems, err.Error())
				}
				if asJSON {
					if err := printJSON(p.Out, map[string]any{"application": app.Name, "ok": len(problems) == 0, "problems": problems}); err != nil {
						return err
					}
				} else if len(problems) == 0 {
					fmt.Fprintf(p.Out, "The policy of %s can work.\n", plain(app.Name))
				} else {
					for _, text := range problems {
						fmt.Fprintln(p.Out, plain(text))
					}
				}
				if len(problems) > 0 {
					return failWith(exitCheck, "the policy of %s cannot work, for %s", plain(app.Name), counted(len(problems), "reason"))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// policySetOptions are the flags of reeve cert policy set.
type policySetOptions struct {
	policyFlags
	mode, why      string
	dryRun, asJSON bool
}

func certPolicySetCommand(p *program) *cobra.Command {
	var o policySetOptions
	cmd := &cobra.Command{
		Use:   "set [APP]",
		Short: "Change the policy or the mode of an application",
		Long: `set changes what its flags name, and leaves the rest. The whole is checked, and refused
with the reasons if it cannot work. Lifetime, renewal, kind of key, subject and store
are those of certificates that are made from then on; all else holds at once.

The modes: on renews; observe looks and tells, and changes nothing; off does neither.`,
		Example: `  reeve cert policy set --lifetime 365d --renew-before 60d
  reeve cert policy set reeve --window 22:00-23:30 --why ticket-4711
  reeve cert policy set reeve --mode observe`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withApplication(cmd.Context(), args, func(a *App, app credential.Application) error {
				return p.certPolicySet(cmd, a, app, &o)
			})
		},
	}
	o.policyFlags.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.mode, "mode", "", "what reeve does: "+strings.Join(texts(credential.Modes()), ", "))
	complete(cmd, "mode", texts(credential.Modes()))
	f.StringVar(&o.why, "why", "", "the reason, for the journal")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would change, and change nothing")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// policyChange is a member of a policy that changes.
type policyChange struct {
	Member string `json:"member"`
	From   string `json:"from"`
	To     string `json:"to"`
}

func (p *program) certPolicySet(cmd *cobra.Command, a *App, app credential.Application, o *policySetOptions) error {
	changes, before := []policyChange{}, app
	// What the policy names is looked for before the transaction, in which nothing may wait.
	wanted := app
	if err := o.change(cmd, a.Cloud, &wanted); err != nil {
		return err
	}
	if err := workable(wanted, a.checkPolicy(wanted.Policy)); err != nil {
		return err
	}
	change := func(now *credential.Application) (*store.JournalEntry, error) {
		before = *now
		err := o.change(cmd, a.Cloud, now)
		if err == nil {
			err = workable(*now, now.Policy.Check())
		}
		changes = policyChanges(before, *now)
		app = *now
		if err != nil || len(changes) == 0 {
			return nil, err
		}
		return a.policyEntry(before, *now, changes, o.why)
	}
	var err error
	if o.dryRun {
		_, err = change(&app)
	} else {
		err = a.DB.ChangeApplication(cmd.Context(), a.Tenant, app.ObjectID, change)
	}
	if err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"application": app.Name, "changes": changes, "mode": app.Mode, "policy": app.Policy})
	}
	if len(changes) == 0 {
		fmt.Fprintln(p.Out, "Nothing changes.")
	}
	for _, c := range changes {
		fmt.Fprintf(p.Out, "%s: %s -> %s\n", c.Member, plain(c.From), plain(c.To))
	}
	if before.Policy.Drain() != app.Policy.Drain() && credential.Span(app.Policy.Drain()) != app.Policy.Overlap {
		fmt.Fprintf(p.Err, "note: the overlap in effect is %s\n", overlapLine(app.Policy))
	}
	if o.dryRun {
		fmt.Fprintln(p.Err, "Nothing was changed.")
	}
	return nil
}

// change changes of an application what the flags name.
func (o *policySetOptions) change(cmd *cobra.Command, cloud m365.Cloud, app *credential.Application) error {
	if err := o.apply(cmd, cloud, &app.Policy); err != nil {
		return err
	}
	if cmd.Flags().Changed("mode") {
		if err := oneOf("mode", o.mode, texts(credential.Modes())); err != nil {
			return err
		}
		app.Mode = credential.Mode(o.mode)
	}
	return nil
}

// workable refuses a policy for what is wrong with it. What was wrong before is no reason
// not to turn it off.
func workable(app credential.Application, wrong []error) error {
	if len(wrong) == 0 || app.Mode == credential.Off {
		return nil
	}
	return failWith(exitUsage, "the policy of %s would not work: %w", plain(app.Name), errors.Join(wrong...))
}

func policyChanges(before, after credential.Application) []policyChange {
	changes := []policyChange{}
	if before.Mode != after.Mode {
		changes = append(changes, policyChange{"mode", string(before.Mode), string(after.Mode)})
	}
	old := policyLines(before.Policy)
	for i, line := range policyLines(after.Policy) {
		if line[1] != old[i][1] {
			changes = append(changes, policyChange{line[0], old[i][1], line[1]})
		}
	}
	return changes
}

func (a *App) policyEntry(before, after credential.Application, changes []policyChange, why string) (*store.JournalEntry, error) {
	data, err := json.Marshal(map[string]any{"from": before.Policy, "to": after.Policy, "why": why})
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, c := range changes {
		parts = append(parts, fmt.Sprintf("%s: %s -> %s", c.Member, c.From, c.To))
	}
	text := strings.Join(parts, "; ")
	if why != "" {
		text += " (" + why + ")"
	}
	return &store.JournalEntry{At: a.now(), Actor: actor(), Step: "policy", Outcome: store.Done, Text: text, Data: data}, nil
}
