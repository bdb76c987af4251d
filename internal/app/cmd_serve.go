package app

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/consumer"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/web"
)

// Roles of a process that serves: the values of the setting role.
const (
	roleAll         = "all"
	roleWeb         = "web"
	roleWorker      = "worker"
	roleImport      = "import"
	roleCredentials = "credentials"
)

// does tells what each role does.
var does = map[string]struct{ pages, feed, certificates, imports bool }{
	roleAll:         {pages: true, feed: true, certificates: true, imports: true},
	roleWeb:         {pages: true},
	roleWorker:      {certificates: true, imports: true},
	roleImport:      {pages: true, imports: true},
	roleCredentials: {pages: true, feed: true, certificates: true},
}

func serveCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "serve", GroupID: "main",
		Short: "Do everything, until it is stopped: import, renew certificates, show how it stands",
		Long: `serve imports the audit log (feeds.audit.enabled), looks after certificates
(credentials.mode), gives programs on this machine theirs, tells people what they
ought to know (notify), and shows a status page (listen). It ends at SIGINT or
SIGTERM, and may be killed at any moment. Several may run on one database; --role
says what this one does: a worker imports and looks after certificates, web shows the
pages alone.

When one part fails, it is logged and tried again, and the others go on. A database
that does not answer is waited for.

The certificate that reeve signs in with itself is looked after from the first start
on, as credentials.mode says: with "on" it is renewed, with "observe" one is told when
it has to be.`,
		Example: `  reeve serve --config /etc/reeve/reeve.yaml
  reeve serve --role worker
  REEVE_CREDENTIALS_MODE=on reeve serve`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load(false)
			if err == nil && c.Role != roleWeb {
				c, err = p.load(true)
			}
			if err != nil {
				return err
			}
			log := logger(p.Err, c)
			announce(p.Err, c, log)
			var a *App
			var parts []part
			err = p.patiently(cmd.Context(), c, log, func() (err error) {
				if a, err = p.prepare(cmd.Context(), c, log); err != nil {
					return err
				}
				a.role = c.Role
				if does[c.Role].imports {
					err = a.setScope(cmd.Context())
				}
				if err == nil {
					parts, err = a.parts(p)
				}
				if err != nil {
					a.Close()
				}
				return err
			})
			if err != nil {
				return err
			}
			if !a.serve(cmd.Context(), parts) {
				return errors.New("not everything ended in time; what was stored is complete in itself")
			}
			if err := a.Close(); err != nil {
				return err
			}
			log.Info("Stopped. The next run goes on from here.")
			return nil
		},
	}
}

// prepare is setup, but for pages alone the database is enough: nothing signs in.
func (p *program) prepare(ctx context.Context, c *config.Config, log *slog.Logger) (*App, error) {
	if c.Role != roleWeb {
		return p.setup(ctx, c, log)
	}
	if c.TenantID == "" {
		return nil, failWith(exitConfig, "tenant-id is not set: give --tenant-id, REEVE_TENANT_ID or the key in the file, to say whose records are meant")
	}
	a := &App{Config: c, log: log, now: p.now}
	if err := a.open(ctx, p); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// part is a part of reeve that works by itself until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

const (
	// restartAfter is when a part that failed is begun again.
	restartAfter = time.Minute
	// stopWithin is how long the parts may take to end, all together.
	stopWithin = 8 * time.Second
)

// serve lets the parts work until ctx ends. Then it ends them, the last first, and
// reports whether all have ended in time.
func (a *App) serve(ctx context.Context, parts []part) bool {
	type running struct {
		part
		stop context.CancelFunc
		done chan struct{}
	}
	var all []running
	for _, p := range parts {
		// Each is ended by itself, in order, and not by ctx.
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := running{p, stop, make(chan struct{})}
		all = append(all, r)
		go func() {
			defer close(r.done)
			a.keep(own, p)
		}()
	}
	<-ctx.Done()
	a.log.Info("Stopping.")
	deadline := time.After(stopWithin)
	ended := true
	for _, r := range slices.Backward(all) {
		r.stop()
		if !ended { // there is no time left to wait
			continue
		}
		select {
		case <-r.done:
		case <-deadline:
			a.log.Warn("A part of reeve did not end in time.", "part", r.name)
			ended = false
		}
	}
	return ended
}

// keep lets a part work until ctx ends, and begins it again when it fails.
func (a *App) keep(ctx context.Context, p part) {
	for {
		err := p.run(ctx)
		if ctx.Err() != nil {
			return
		}
		a.log.Error("A part of reeve failed; the others go on, and it is begun again.", "part", p.name, "in", restartAfter, "error", err, "remedy", remedy(err))
		timer := time.NewTimer(restartAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// parts are what a process of its role does, in the order in which it is begun: what
// others need comes first.
func (a *App) parts(p *program) ([]part, error) {
	var parts []part
	role := does[a.Config.Role]
	add := func(name string, run func(context.Context) error) { parts = append(parts, part{name, run}) }
	site := web.Options{Listen: a.Config.Listen, DB: a.DB, Tenant: a.Tenant, Log: a.log, Now: a.now,
		Rhythm: credential.Rhythm{Look: a.Config.Credentials.Interval}, Imports: a.Config.Feeds.Audit.Enabled, Every: a.Config.Feeds.Audit.Interval,
		Refused: a.refused.Load}
	feed := consumer.New(consumer.Options{DB: a.DB, Tenant: a.Tenant, TenantID: a.Config.TenantID, Pair: a.pair, Now: a.now, Log: a.log})
	if role.feed {
		site.Handlers = map[string]http.Handler{"/v1/": feed}
	}
	if role.pages {
		add("status page", func(ctx context.Context) error {
			s, err := web.Start(site)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.Err, "\nStatus page: %s\n\n", s.URL())
			<-ctx.Done()
			return s.Close()
		})
	}
	woken := make(chan struct{}, 1)
	if role.certificates {
		sender, err := a.notifierTrusting()
		if err != nil {
			return nil, err
		}
		pool := pki.NewKeyPool(pki.RSA2048, 2)
		a.stops = append(a.stops, func() error { pool.Close(); return nil })
		a.newKey = func(ctx context.Context, t pki.KeyType) (crypto.Signer, error) {
			if t == pki.RSA2048 {
				return pool.Get(ctx)
			}
			return pki.NewKey(t)
		}
		if role.feed {
			// The feed ends before the page, which else would wait for those who wait.
			add("feed of certificates", feed.Run)
		}
		add("notices", func(ctx context.Context) error {
			tell(ctx, sender)
			return context.Cause(ctx)
		})
		add("certificates", func(ctx context.Context) error {
			return a.lookAfter(ctx, func(credential.Application) {
				feed.Wake()
				select {
				case woken <- struct{}{}:
				default:
				}
			})
		})
	}
	if a.Credential != nil && m365.Method(a.Config.Auth.Method) == m365.MethodCertificate {
		add("own certificate", func(ctx context.Context) error {
			a.follow(ctx, woken)
			return context.Cause(ctx)
		})
	}
	if role.imports && a.Config.Retention.AuditDays > 0 {
		add("retention", a.retain)
	}
	if role.imports && len(a.Feeds) > 0 {
		add("import", func(ctx context.Context) error { return a.run(ctx, p.progress(a.Config)) })
		add("seals", sealer{db: a.DB, tenant: a.Tenant, config: a.Config, now: a.now, log: a.log}.run)
	}
	return parts, nil
}

// lookAfter looks after certificates until ctx ends, and sees to it that reeve's own is
// among them.
func (a *App) lookAfter(ctx context.Context, changed func(credential.Application)) error {
	r, err := a.rotation(ctx, changed)
	if err != nil {
		return err
	}
	a.reconcile(ctx, r)
	adopting, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.adoptOwn(adopting, r)
	}()
	defer func() {
		stop()
		<-done
	}()
	return r.Run(ctx)
}

// reconcile takes up private keys that the database does not know.
func (a *App) reconcile(ctx context.Context, r *rotate.Rotator) {
	found, err := r.Reconcile(ctx)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("Whether there are private keys that the database does not know could not be seen.", "error", err)
	}
	for _, what := range found {
		a.log.Warn("A private key that the database did not know.", "found", what)
	}
}

// adoptOwn begins to look after reeve's own application, as credentials.mode says, unless
// somebody did. It tries until it can.
func (a *App) adoptOwn(ctx context.Context, r *rotate.Rotator) {
	mode := credential.Mode(a.Config.Credentials.Mode)
	if mode == credential.Off || m365.Method(a.Config.Auth.Method) != m365.MethodCertificate {
		return
	}
	for {
		err := a.tryAdopt(ctx, r, mode)
		if err == nil || ctx.Err() != nil {
			return
		}
		wait := time.Hour // a person has to do something
		if errors.Is(err, m365.ErrTransient) || errors.Is(err, m365.ErrThrottled) || exitCode(err) == exitDatabase {
			wait = time.Minute
		}
		a.log.Warn("reeve does not look after the certificate that it signs in with.", "error", err, "again_in", wait,
			"remedy", "do it by hand, which needs no permission at Graph: reeve cert adopt --object-id ID (Entra ID > App registrations > Object ID); or give reeve Application.Read.All; or set credentials.mode to off")
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (a *App) tryAdopt(ctx context.Context, r *rotate.Rotator, mode credential.Mode) error {
	switch app, ok, err := a.own(ctx); {
	case err != nil:
		return err
	case ok:
		if _, has := app.Active(); has || app.Mode != credential.On || len(app.Credentials) > 0 {
			return nil
		}
		// It was only observed so far, and somebody has decided to have it renewed.
		return r.TakeIn(ctx, app.ObjectID, a.Credential.Pair(), "reeve serve")
	}
	directory, err := a.directory()
	if err != nil {
		return err
	}
	if directory == nil {
		return errors.New("nobody is there who could read the application at Graph")
	}
	app, err := directory.ApplicationByClientID(ctx, a.Config.ClientID)
	if err != nil {
		return err
	}
	o := rotate.Adoption{
		ObjectID: app.ObjectID, ClientID: app.ClientID, TenantID: a.Config.TenantID, Name: app.Name, Mode: mode,
		Policy: credential.Policy{}.Complete(a.Cloud.GraphAudience),
		By:     "reeve serve", Why: "credentials.mode is " + string(mode),
	}
	if len(a.Feeds) > 0 { // what reeve itself uses has to work with a new certificate
		o.Policy.Resources = append(o.Policy.Resources, a.Cloud.ManageAudience)
	}
	// In mode observe, too: nothing is done with it, and reeve can begin to renew it when
	// somebody says so.
	o.Pair, o.Seen = a.Credential.Pair(), &app
	_, err = r.Adopt(ctx, o)
	switch {
	case errors.Is(err, store.ErrExists): // another process was faster
		return nil
	case err != nil:
		return err
	}
	a.log.Info("reeve looks after the certificate that it signs in with from now on.", "application", app.Name, "mode", mode)
	a.reconcile(ctx, r) // now that it is known whose they are
	return nil
}
