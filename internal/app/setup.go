package app

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/web"
)

// App is reeve at work on one tenant.
type App struct {
	Config     *config.Config
	Cloud      m365.Cloud
	Credential *m365.Credential
	Pair       pki.Pair // the certificate in use at the start; without one if the method is another
	DB         *store.DB
	Tenant     int
	Feeds      []*ingest.Feed

	role      string // what the process does, for who looks at the workers
	worker    *ingest.Worker
	throttled atomic.Pointer[ingest.Worker] // the same, for the goroutines that ask the source
	pace      *m365.Pace                    // of the Management Activity API
	refused   atomic.Pointer[web.Refusal]   // what the database refuses to the import; nil while it works

	scope feed.Scope
	openVaults
	person *graph.Client // who has signed in by hand; nil for nobody
	openedStores
	newKey func(context.Context, pki.KeyType) (crypto.Signer, error) // nil: as they are needed
	http   *http.Client
	log    *slog.Logger
	now    func() time.Time
	stops  []func() error // in the order of starting; Close goes backwards
}

// setup builds reeve from its configuration: who signs in and how, the database,
// the feeds. It is one straight line on purpose. What it has opened when it
// fails, it closes.
func (p *program) setup(ctx context.Context, c *config.Config, log *slog.Logger) (_ *App, err error) {
	a := &App{Config: c, log: log, now: p.now, role: "import run"}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return nil, err
	}
	scope, err := feed.NewScope(c.Feeds.Audit.OrgURLs)
	if err != nil {
		return nil, coded{exitConfig, err}
	}
	if missing(c) {
		// There is nothing in it that signing in could need, and a mistake in the settings
		// should not make one.
		if err := a.signIn(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.open(ctx, p); err != nil {
		return nil, err
	}
	if a.Credential == nil {
		if err := a.signIn(ctx); err != nil {
			return nil, err
		}
	}
	a.scope = scope
	if c.Feeds.Audit.Enabled {
		a.pace = m365.NewPace(a.sourceThrottles)
		api, err := activity.New(activity.Options{Cloud: a.Cloud, TenantID: c.TenantID, Credential: a.Credential, HTTP: a.http, Pace: a.pace})
		if err != nil {
			return nil, coded{exitConfig, err}
		}
		a.Feeds = append(a.Feeds, feed.Audit(feed.AuditOptions{
			Client: api, Tenant: a.Tenant, ContentTypes: c.Feeds.Audit.ContentTypes,
			Backfill: time.Duration(c.Feeds.Audit.Days) * 24 * time.Hour, Scope: scope, Now: p.now,
		}))
	}
	return a, nil
}

// open opens the database.
func (a *App) open(ctx context.Context, p *program) (err error) {
	if a.DB, err = store.Open(ctx, a.Config.Database.URL, store.Options{Now: p.now, Password: a.Config.Database.Password.Reveal(), Raw: store.Raw(a.Config.Feeds.Audit.Raw)}); err != nil {
		return err
	}
	a.stops = append(a.stops, a.DB.Close)
	a.Tenant, err = a.DB.Tenant(ctx, a.Config.TenantID)
	return err
}

// signIn prepares signing in as configured: with the certificate that reeve looks after
// itself, if it does, and else with that of auth.certificate.
func (a *App) signIn(ctx context.Context) error {
	var s m365.SignIn
	active, standby, err := a.managed(ctx)
	if err != nil {
		return err
	}
	if active.Certificate != nil {
		s = signInAs(a.Config)
		s.Pair = active
	} else if s, err = signIn(ctx, a.Config, a.Cloud, a.http); err != nil {
		return err
	}
	a.Pair = s.Pair
	if a.Pair.Certificate != nil {
		a.logCertificate()
		switch err := a.Pair.UsableForSignIn(a.now()); {
		case err != nil && active.Certificate != nil:
			a.log.Error("The certificate that reeve looks after cannot sign in. Another is made by itself if credentials.manager may; else: reeve cert rescue", "error", err)
		case err != nil:
			return failWith(exitSignIn, "the certificate of auth.certificate cannot sign in: %w%s", err, a.lostOwn(ctx))
		}
	}
	if a.Credential, err = m365.NewCredential(a.Cloud, s, a.http); err != nil {
		return coded{exitConfig, err}
	}
	a.Credential.Now = a.now
	a.Credential.OnSwap = func(from, to pki.Pair, because error) {
		a.log.Warn("Entra ID refused the certificate in use; the standby was taken.", "refused", from, "taken", to, "error", because)
	}
	if standby.Certificate != nil {
		a.Credential.SetStandby(standby)
	}
	return nil
}

// managed gives the certificates of reeve's own application when reeve looks after them
// itself; none when it does not, or when they cannot be fetched, which is no reason not
// to try auth.certificate.
func (a *App) managed(ctx context.Context) (active, standby pki.Pair, err error) {
	if a.DB == nil || m365.Method(a.Config.Auth.Method) != m365.MethodCertificate {
		return pki.Pair{}, pki.Pair{}, nil
	}
	app, ok, err := a.own(ctx)
	if err != nil || !ok || app.Mode == credential.Off {
		return pki.Pair{}, pki.Pair{}, err
	}
	active, standby, _, err = a.ownPairs(ctx)
	if err != nil && (standby.Certificate == nil || standby.UsableForSignIn(a.now()) != nil) {
		a.log.Warn("The certificate that reeve looks after cannot be fetched; the one of auth.certificate is used.", "error", err)
		return pki.Pair{}, pki.Pair{}, nil
	}
	if err != nil {
		a.log.Warn("The certificate in use cannot be fetched.", "error", err)
	}
	// After a long time in which reeve did not run the standby may be all that is left.
	if standby.Certificate != nil && (active.Certificate == nil || active.UsableForSignIn(a.now()) != nil) && standby.UsableForSignIn(a.now()) == nil {
		a.log.Warn("The certificate in use cannot sign in any more; the standby is taken.", "refused", active, "taken", standby)
		active, standby = standby, pki.Pair{}
	}
	return active, standby, nil
}

// lostOwn is lost, when the database has no application of reeve's own.
func (a *App) lostOwn(ctx context.Context) string {
	if a.DB != nil {
		if _, ok, err := a.own(ctx); ok || err != nil {
			return ""
		}
	}
	return lost(a.Config)
}

// Close ends what setup began, the last first.
func (a *App) Close() error {
	var first error
	for len(a.stops) > 0 {
		stop := a.stops[len(a.stops)-1]
		a.stops = a.stops[:len(a.stops)-1]
		if err := stop(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// signInTo finds the cloud that the configuration names, and makes the client
// for its network.
func signInTo(c *config.Config, cloud *m365.Cloud) (*http.Client, error) {
	var err error
	if *cloud, err = m365.LookupCloud(c.Cloud); err != nil {
		return nil, coded{exitConfig, err}
	}
	for _, e := range []struct {
		to *string
		by string
	}{
		{&cloud.AuthorityHost, c.AuthorityHost}, {&cloud.Graph, c.GraphEndpoint},
		{&cloud.Manage, c.ManageEndpoint}, {&cloud.Logs, c.LogsEndpoint},
		{&cloud.Resources, c.ResourcesEndpoint},
	} {
		if e.by != "" {
			*e.to = e.by
		}
	}
	ca, err := caOf(c)
	if err != nil {
		return nil, err
	}
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: ca})
	if err != nil {
		return nil, failWith(exitConfig, "ca-file %s: %w", c.CAFile, err)
	}
	return client, nil
}

// caOf reads the authorities that are trusted besides the system's, if there are any.
func caOf(c *config.Config) ([]byte, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, failWith(exitConfig, "reading ca-file: %w", err)
	}
	return ca, nil
}

// signInAs is what the configuration says about signing in, without a certificate.
func signInAs(c *config.Config) m365.SignIn {
	return m365.SignIn{
		Method: m365.Method(c.Auth.Method), TenantID: c.TenantID, ClientID: c.ClientID,
		Secret: c.Auth.ClientSecret.Reveal(), SendChain: c.Auth.SendChain, FederatedTokenFile: c.Auth.FederatedTokenFile,
	}
}

// signIn gathers what the configured method needs, and fetches the certificate.
func signIn(ctx context.Context, c *config.Config, cloud m365.Cloud, client *http.Client) (m365.SignIn, error) {
	s := signInAs(c)
	if s.Method != m365.MethodCertificate {
		return s, nil
	}
	if c.Auth.Own() {
		return s, failWith(exitSignIn, "auth.certificate is own, and reeve has no certificate of its own in %s that it could sign in with: see database.url and the working directory; 'reeve app setup' makes a first one, and 'reeve cert rescue' another", c.Database.URL)
	}
	ref, err := certstore.ParseReference(c.Auth.Certificate)
	if err != nil {
		return s, failWith(exitConfig, "auth.certificate: %w", err)
	}
	if ref.Kind == certstore.KindFile {
		s.Pair, err = certstore.File(ref.Path, c.Auth.CertificatePassword.Reveal())
		if err != nil {
			return s, coded{exitConfig, err}
		}
		return s, nil
	}
	vault, err := openVault(c, ref, cloud, client)
	if err != nil {
		return s, err
	}
	get := vault.Get
	if ref.Kind == certstore.KindSecret {
		get = vault.Secret
	}
	if s.Pair, err = get(ctx, ref.Name, ref.Version); errors.Is(err, m365.ErrNotFound) || exitCode(err) == exitFailure {
		err = coded{exitSignIn, err} // the vault answered; what it has does not sign in
	}
	return s, err
}

// openVault signs in to the Key Vault that holds the certificate.
func openVault(c *config.Config, ref certstore.Reference, cloud m365.Cloud, client *http.Client) (*certstore.KeyVault, error) {
	s := m365.SignIn{
		Method: m365.Method(c.Auth.VaultMethod), TenantID: c.TenantID, ClientID: c.ClientID,
		Secret: c.Auth.ClientSecret.Reveal(), FederatedTokenFile: c.Auth.FederatedTokenFile,
	}
	switch s.Method {
	case m365.MethodManagedIdentity:
		s.ClientID = "" // the one of the machine, not the application's
	case m365.MethodCertificate:
		var err error
		if s.Pair, err = certstore.File(c.Auth.VaultCertificate, ""); err != nil {
			return nil, failWith(exitConfig, "auth.vault-certificate: %w", err)
		}
	}
	credential, err := m365.NewCredential(cloud, s, client)
	if err != nil {
		return nil, failWith(exitConfig, "signing in to the key vault: %w", err)
	}
	url := ref.VaultURL
	if url == "" {
		url = c.VaultURL
	}
	vault, err := certstore.OpenKeyVault(url, cloud, credential, client)
	if err != nil {
		return nil, coded{exitConfig, err}
	}
	return vault, nil
}

// setScope writes the scope where people look for it, for a process that imports. That nothing is left out
// is a finding, until somebody says that it is meant.
func (a *App) setScope(ctx context.Context) error {
	scope := a.scope
	const rule, subject = "org-urls-empty", "audit"
	if err := a.DB.SetScope(ctx, a.Tenant, scope.Rules()); err != nil {
		return err
	}
	if !scope.Everything() || a.Config.Feeds.Audit.ImportEverything || !a.Config.Feeds.Audit.Enabled {
		for _, r := range scope.Rules() {
			a.log.Info("Scope of the audit log.", "rule", "+"+r.String())
		}
		return a.DB.Settle(ctx, a.Tenant, rule, subject)
	}
	f := store.Finding{Rule: rule, Subject: subject,
		Message: "feeds.audit.org-urls is empty, so the records of every site, everybody's OneDrive included, are imported",
		Remedy:  "list the sites that are wanted, or set feeds.audit.import-everything to say that this is meant"}
	a.log.Warn(f.Message, "remedy", f.Remedy)
	return a.DB.Find(ctx, a.Tenant, f)
}

func (a *App) logCertificate() {
	cert := a.Pair.Certificate
	left := a.Pair.DaysLeft(a.now())
	level := slog.LevelInfo
	if left < 30 {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "Signing in with a certificate.", "subject", cert.Subject.String(),
		"sha1", pki.SHA1(cert), "sha256", pki.SHA256(cert), "not_after", cert.NotAfter.UTC().Format(time.RFC3339), "days_left", left)
}

// announce says which settings are in force, and from where.
func announce(w io.Writer, c *config.Config, log *slog.Logger) {
	if c.Log.Format == "json" {
		for _, s := range c.Settings() {
			log.Info("setting", "key", s.Key, "value", s.Value, "origin", s.Origin)
		}
	} else {
		printSettings(w, c)
	}
	for _, n := range c.Notices() {
		log.Warn(n)
	}
}

func printSettings(w io.Writer, c *config.Config) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range c.Settings() {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, value, s.Origin)
	}
	t.Flush()
}

// logger makes the logger that the configuration asks for.
func logger(w io.Writer, c *config.Config) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.Log.Level)) // one of the four: config has checked it
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
