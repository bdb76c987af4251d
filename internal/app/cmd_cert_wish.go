package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// wish is a command by which a person asks for something.
type wish struct {
	kind    credential.WishKind
	short   string
	long    string
	example string
	// of chooses the certificate that is meant, or says why it cannot be done. Renewing
	// is about none.
	of func(a credential.Application, named *credential.Credential, now time.Time) (credential.Credential, error)
}

// wishes lists every [wish].
var wishes = []wish{
	{credential.Renew, "Make a fresh certificate, prove it, and make it the one in use",
		`renew makes a new private key and certificate, registers it at Entra ID, obtains tokens
with it until it is proved, hands it to the live places and makes it the one in use.
The one before stays usable for the overlap of the policy. It takes about two minutes,
nearly all of it waiting until all of Entra ID knows the certificate.`,
		`  reeve cert renew --why ticket-4711
  reeve cert renew reeve --dry-run
  reeve cert renew reeve --no-wait`, nil},
	{credential.Promote, "Make the certificate that waits the one in use",
		`promote makes the standby, which was proved when it was made and since, the one in use,
after one more proof. It takes seconds.`,
		`  reeve cert promote
  reeve cert promote reeve 3F2A9C01 --why drill`, standbyOf},
	{credential.Rollback, "Make the certificate before the one in use again",
		`rollback makes the certificate that was replaced, as long as it drains, the one in use
again. Afterwards the other drains, so that a second rollback goes forward again. One
that is retired is gone from Entra ID: going back to it is not possible, and renewing is.`,
		`  reeve cert rollback --why ticket-4711
  reeve cert rollback reeve --dry-run`, drainingOf},
	{credential.Retire, "Take the certificate that was replaced away before its time",
		`retire takes a certificate that drains away from Entra ID at once, after a proof of the
one in use, and sees to it that it is refused.`,
		`  reeve cert retire --why ticket-4711
  reeve cert retire reeve 3F2A9C01`, retirableOf},
	{credential.Revoke, "Take a certificate away at once, because its key may be known to others",
		`revoke takes a certificate away from Entra ID without an overlap, and destroys its key.
If it is the one in use, the standby takes over first; if there is none, one is made.
Programs that hold a copy of the revoked one stop working.`,
		`  reeve cert revoke reeve 3F2A9C01 --why ticket-4711 --yes
  reeve cert revoke reeve 3F2A9C01 --dry-run`, revocableOf},
}

func standbyOf(a credential.Application, named *credential.Credential, now time.Time) (credential.Credential, error) {
	c, ok := a.Standby()
	if named != nil {
		c, ok = *named, named.State == credential.Standby
	}
	switch {
	case !ok && named != nil:
		return c, fmt.Errorf("certificate %s is %s, and only a standby can be promoted%s", nameOf(c), c.State, credentialsOf(a))
	case !ok:
		return c, fmt.Errorf("no standby of %s waits that could be promoted: reeve cert renew makes one, proves it and promotes it%s", plain(a.Name), credentialsOf(a))
	case !now.Before(c.NotAfter):
		return c, fmt.Errorf("the standby %s expired at %s: reeve cert renew makes another", nameOf(c), utc(c.NotAfter))
	}
	return c, nil
}

func drainingOf(a credential.Application, named *credential.Credential, now time.Time) (credential.Credential, error) {
	var c credential.Credential
	draining := slices.DeleteFunc(a.In(credential.Draining), func(c credential.Credential) bool { return named == nil && c.Promoted.IsZero() })
	switch {
	case named != nil && named.State == credential.Standby:
		return *named, fmt.Errorf("certificate %s was not in use yet: reeve cert promote %s", nameOf(*named), a.ClientID)
	case named != nil && named.State != credential.Draining:
		return *named, fmt.Errorf("certificate %s is %s, so that there is no way back to it: a new one is what remains: reeve cert renew %s", nameOf(*named), named.State, a.ClientID)
	case named != nil:
		c = *named
	case len(draining) == 0:
		return c, fmt.Errorf("no certificate of %s drains that could come back; one that is retired is gone from Entra ID, so that a new one is what remains: reeve cert renew %s", plain(a.Name), a.ClientID)
	default:
		c = draining[0]
	}
	if !now.Before(c.NotAfter) {
		return c, fmt.Errorf("certificate %s expired at %s: a new one is what remains: reeve cert renew %s", nameOf(c), utc(c.NotAfter), a.ClientID)
	}
	return c, nil
}

func retirableOf(a credential.Application, named *credential.Credential, _ time.Time) (credential.Credential, error) {
	draining := a.In(credential.Draining)
	if _, ok := a.Active(); !ok {
		return credential.Credential{}, fmt.Errorf("no certificate of %s is in use that would remain: reeve cert renew %s", plain(a.Name), a.ClientID)
	}
	switch {
	case named != nil && named.State == credential.Active:
		return *named, fmt.Errorf("certificate %s is the one in use: promote or renew first, or revoke it if its key may be known to others", nameOf(*named))
	case named != nil && named.State != credential.Draining:
		return *named, fmt.Errorf("certificate %s is %s, and only one that was replaced can be retired%s", nameOf(*named), named.State, credentialsOf(a))
	case named != nil:
		return *named, nil
	case len(draining) == 0:
		return credential.Credential{}, fmt.Errorf("no certificate of %s was replaced that could be retired%s", plain(a.Name), credentialsOf(a))
	case len(draining) > 1:
		return credential.Credential{}, failWith(exitUsage, "say which certificate%s", credentialsOf(a))
	}
	return draining[0], nil
}

func revocableOf(a credential.Application, named *credential.Credential, _ time.Time) (credential.Credential, error) {
	switch {
	case named == nil:
		return credential.Credential{}, failWith(exitUsage, "say which certificate is to be revoked%s", credentialsOf(a))
	case slices.Contains([]credential.State{credential.Retired, credential.Destroyed, credential.Lost}, named.State):
		return *named, fmt.Errorf("certificate %s is %s: it signs nobody in any more", nameOf(*named), named.State)
	case !named.State.HasKey():
		return *named, fmt.Errorf("credential %s is %s and has no key that could be known", named.ID, named.State)
	}
	return *named, nil
}

// wishFlags are the flags of a [wish].
type wishFlags struct {
	why                         string
	noWait, dryRun, yes, asJSON bool
}

func certWishCommand(p *program, w wish) *cobra.Command {
	var o wishFlags
	cmd := &cobra.Command{
		Use: string(w.kind) + " [APP] [CRED]", Short: w.short, Example: w.example,
		Long: w.long + `

What is asked for is recorded, with who asked and why, and then carried out step by
step; 'reeve serve', where it runs, may be the one who does. Interrupting the command
takes nothing back: 'reeve cert cancel' does, as long as nothing was done.`,
		Args: applicationArgs(2), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error { return p.certWish(cmd.Context(), w, args, &o) },
	}
	if w.of == nil {
		cmd.Use = string(w.kind) + " [APP]"
		cmd.Args = applicationArgs(1)
	}
	f := cmd.Flags()
	f.StringVar(&o.why, "why", "", "the reason, for the journal")
	f.BoolVar(&o.noWait, "no-wait", false, "record it, and leave it to 'reeve serve'")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the steps and the requests to Microsoft, and change nothing")
	if w.kind == credential.Revoke {
		f.BoolVar(&o.yes, "yes", false, "do not ask")
	}
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) certWish(ctx context.Context, w wish, args []string, o *wishFlags) error {
	open := p.certAppSignedIn
	if o.noWait {
		open = p.certApp
	}
	a, err := open(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	if app.Mode != credential.On {
		return fmt.Errorf("application %s is in mode %s, in which reeve changes nothing: reeve cert policy set %s --mode on", plain(app.Name), app.Mode, app.ClientID)
	}
	// To the millisecond, as it is kept.
	asked := credential.Wish{Kind: w.kind, By: actor(), Why: o.why, At: p.now().UTC().Truncate(time.Millisecond)}
	var about credential.Credential
	if w.of != nil {
		if about, err = w.of(app.Application, app.named, p.now()); err != nil {
			return err
		}
		asked.Credential = about.ID
	}
	if o.dryRun {
		return p.foresee(ctx, a, app.Application, asked, o.asJSON)
	}
	if i := slices.IndexFunc(app.Wishes, func(x credential.Wish) bool { return x.Kind == asked.Kind && x.Credential == asked.Credential }); i >= 0 {
		asked = app.Wishes[i]
		fmt.Fprintf(p.Err, "%s asked for this at %s, and it is not done yet.\n", plain(asked.By), utc(asked.At))
	} else {
		if w.kind == credential.Revoke && !o.yes {
			if err := p.confirm(ctx, fmt.Sprintf("Revoke certificate %s (%s) of %s? Programs that hold a copy of it stop working.", nameOf(about), about.State, plain(app.Name))); err != nil {
				return err
			}
		}
		if asked.At, err = a.DB.AddWish(ctx, a.Tenant, app.ObjectID, asked); err != nil {
			return err
		}
	}
	if o.noWait {
		fmt.Fprintln(p.Err, "It is recorded, and carried out by 'reeve serve', or by the same command without --no-wait.")
		return p.wishResult(ctx, a, app.ObjectID, asked, false, o.asJSON)
	}
	if err := p.pursue(ctx, a, app.ObjectID, asked); err != nil {
		return err
	}
	return p.wishResult(ctx, a, app.ObjectID, asked, true, o.asJSON)
}

// canAsk reports that a command would ask where there is nobody to ask, before somebody
// has signed in for nothing.
func (p *program) canAsk(sure bool) error {
	if _, ok := p.terminal(); !ok && !sure {
		return failWith(exitUsage, "this command asks before it changes anything, and standard input is no terminal: say --yes, or --dry-run to see the plan")
	}
	return nil
}

// confirm asks a person on a terminal. Without one there is nobody to ask.
func (p *program) confirm(ctx context.Context, question string) error {
	if _, ok := p.terminal(); !ok {
		return failWith(exitUsage, "%s Say --yes, since there is nobody to ask", question)
	}
	fmt.Fprintf(p.Err, "%s\nWrite yes to go on: ", question)
	answer, err := await(ctx, func() (string, error) { return bufio.NewReader(p.In).ReadString('\n') })
	if err != nil && answer == "" || strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// reached reports whether an application is as was asked for: for one that is to be
// taken away only when it is gone and refused.
func reached(a credential.Application, w credential.Wish) bool {
	active, _ := a.Active()
	c, known := a.Find(w.Credential)
	switch w.Kind {
	case credential.Renew:
		return active.Wished.Equal(w.At)
	case credential.Promote, credential.Rollback:
		return active.ID == w.Credential && active.Promoted.After(w.At)
	}
	return known && slices.Contains([]credential.State{credential.Retired, credential.Destroyed, credential.Lost}, c.State)
}

// taken reports whether a wish is not recorded any more.
func taken(a credential.Application, w credential.Wish) bool {
	return !slices.ContainsFunc(a.Wishes, func(x credential.Wish) bool { return x.Kind == w.Kind && x.Credential == w.Credential })
}

// Pauses between two looks at what is recorded: others may be at work on it.
const (
	lookGap   = time.Second
	leasedGap = 2 * time.Second
)

// whenFree runs f, and again as long as another process is at work on the application,
// which takes moments.
func (p *program) whenFree(ctx context.Context, f func() error) error {
	const patience = 2 * time.Minute
	for begun, told := p.now(), false; ; told = true {
		err := f()
		switch {
		case !errors.Is(err, store.ErrLeased):
			return err
		case p.now().Sub(begun) > patience:
			return fmt.Errorf("%w for %v; nothing was changed: try again in a moment, and see with reeve cert show what it is about", err, patience)
		case !told:
			fmt.Fprintln(p.Err, "note: another process is at work on this application; waiting for it")
		}
		timer := time.NewTimer(lookGap)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// pursue works until a wish has come true, or another process has done it. It says what
// is done as it happens.
func (p *program) pursue(ctx context.Context, a *App, objectID string, w credential.Wish) error {
	rotator, stop, err := p.follower(ctx, a)
	if err != nil {
		return err
	}
	defer stop()
	t := &telling{program: p, said: map[string]bool{}}
	if t.after, err = a.DB.JournalEnd(ctx, a.Tenant, objectID); err != nil {
		return err
	}
	next := p.now()
	for {
		if !next.After(p.now()) {
			var workErr error
			next, workErr = rotator.Work(ctx, objectID)
			var database *store.Error
			switch {
			case errors.Is(workErr, store.ErrLeased), errors.Is(workErr, store.ErrFenced):
				t.once("another process is at work on this application; what it does is shown")
				next = p.now().Add(leasedGap)
			case ctx.Err() != nil:
			case errors.As(workErr, &database):
				return workErr
			case workErr != nil:
				t.once(workErr.Error())
			}
		}
		if ctx.Err() == nil {
			app, err := a.DB.Application(ctx, a.Tenant, objectID)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				if err := t.tell(ctx, a, app); err != nil && ctx.Err() == nil {
					return err
				}
				switch {
				case reached(app, w):
					return nil
				case taken(app, w) && app.Begun(w) == "":
					return fmt.Errorf("what was asked for was taken back meanwhile, or cannot be done any more: see reeve cert history %s", app.ClientID)
				case taken(app, w) && w.Kind != credential.Retire && w.Kind != credential.Revoke:
					return fmt.Errorf("what was asked for cannot be done any more, since the certificates of %s have changed meanwhile: see reeve cert show", plain(app.Name))
				case app.Mode != credential.On:
					return fmt.Errorf("application %s was put in mode %s meanwhile; what was asked for stands", plain(app.Name), app.Mode)
				}
			}
		}
		timer := time.NewTimer(min(max(next.Sub(p.now()), 0), lookGap))
		select {
		case <-ctx.Done():
			timer.Stop()
			return failWith(exitFailure, "stopped. What was asked for stands: 'reeve serve' carries it out, and so does the same command when it is given again")
		case <-timer.C:
		}
	}
}

// follower is a Rotator at work, with reeve's own sign-in following its own certificate
// while that is renewed.
func (p *program) follower(ctx context.Context, a *App) (*rotate.Rotator, func(), error) {
	woken := make(chan struct{}, 1)
	rotator, err := a.rotation(ctx, func(app credential.Application) {
		if strings.EqualFold(app.ClientID, a.Config.ClientID) {
			select {
			case woken <- struct{}{}:
			default:
			}
		}
	})
	if err != nil || a.Credential == nil || m365.Method(a.Config.Auth.Method) != m365.MethodCertificate {
		return rotator, func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.follow(ctx, woken)
	}()
	return rotator, func() {
		cancel()
		<-done
	}, nil
}

// telling says what happens to an application, as it happens.
type telling struct {
	*program
	after int64 // the number of the last entry that was told
	said  map[string]bool
}

func (t *telling) once(text string) {
	if !t.said[text] {
		t.said[text] = true
		fmt.Fprintf(t.Err, "note: %s\n", plain(text))
	}
}

// tell prints what is new: entries of the journal, findings, what is waited for.
func (t *telling) tell(ctx context.Context, a *App, app credential.Application) error {
	entries, err := a.DB.Journal(ctx, a.Tenant, app.ObjectID, t.after, 1000)
	if err != nil {
		return err
	}
	for _, e := range entries {
		t.after = e.Seq
		printEntry(t.Err, e, app)
	}
	r := a.report(app)
	for _, f := range r.Findings {
		if key := f.Rule + f.Credential + f.Key; f.Severity != credential.Info && !t.said[key] {
			t.said[key] = true
			printFindings(t.Err, []assessment{f})
		}
	}
	if r.Next == nil {
		return nil
	}
	key := fmt.Sprint(r.Next.Action, r.Next.Credential)
	if wait := r.Next.At.Sub(a.now()); wait > 3*time.Second && !t.said[key] {
		t.said[key] = true
		fmt.Fprintf(t.Err, "next: %s, %s (%s)\n", plain(r.Next.what()), when(r.Next.At, a.now()), plain(r.Next.Why))
	}
	return nil
}

// wishResult prints how the application is afterwards.
func (p *program) wishResult(ctx context.Context, a *App, objectID string, w credential.Wish, done, asJSON bool) error {
	app, err := a.DB.Application(ctx, a.Tenant, objectID)
	if err != nil {
		return err
	}
	r := a.report(app)
	if asJSON {
		return printJSON(p.Out, map[string]any{"wish": w, "done": done, "application": r})
	}
	if !done {
		fmt.Fprintf(p.Out, "%s of %s was asked for by %s\n", w.Kind, plain(app.Name), plain(w.By))
		return nil
	}
	if c, ok := app.Find(w.Credential); ok && (w.Kind == credential.Retire || w.Kind == credential.Revoke) {
		fmt.Fprintf(p.Out, "Certificate %s of %s is %s\n", nameOf(c), plain(app.Name), c.State)
	}
	for _, c := range app.In(credential.Draining) {
		if gone(app, c) {
			fmt.Fprintf(p.Out, "Certificate %s of %s was replaced, and is not at Entra ID: it signs nobody in\n", nameOf(c), plain(app.Name))
		}
	}
	if r.Active != nil {
		fmt.Fprintf(p.Out, "Certificate %s of %s is in use, until %s\n", nameOf(*r.Active), plain(app.Name), utc(r.Active.NotAfter))
	}
	return nil
}

// foresee prints what a wish would do, if nothing failed.
func (p *program) foresee(ctx context.Context, a *App, app credential.Application, w credential.Wish, asJSON bool) error {
	directory, err := a.directory()
	if err != nil {
		return err
	}
	r := rotate.New(rotate.Options{DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http, Directory: directory,
		Rhythm: credential.Rhythm{Look: a.Config.Credentials.Interval}, Now: a.now, Log: a.log})
	app.Wishes = append(slices.Clone(app.Wishes), w)
	steps, ok, err := r.Foresee(ctx, app, func(x credential.Application) bool { return reached(x, w) })
	if err != nil {
		return err
	}
	all := []stepReport{}
	for _, f := range steps {
		s := reportStep(app, f.Step)
		s.Times, s.Requests = f.Times, f.Requests
		all = append(all, s)
	}
	if asJSON {
		return printJSON(p.Out, map[string]any{"wish": w, "reached": ok, "steps": all})
	}
	requests := requestPrinter{}
	for _, s := range all {
		fmt.Fprintf(p.Out, "%-10s  %s: %s\n", when(s.At, p.now()), plain(s.what()), plain(s.Why))
		requests.print(p.Out, s.Requests)
	}
	if !ok {
		fmt.Fprintln(p.Err, "Then it waits for a person, or for something that cannot be foreseen: see reeve cert show.")
	}
	fmt.Fprintln(p.Err, "Nothing was done. Reading the application at Graph is not listed.")
	return nil
}
