package app

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/notify"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
)

// keysDir is where private keys are kept, by default beside the database; if that is on a
// server, in the working directory.
func keysDir(c *config.Config) string {
	if c.Credentials.Dir != "" {
		return c.Credentials.Dir
	}
	return filepath.Join(filepath.Dir(c.Database.File()), "reeve-keys")
}

// keysetPlace says where the keyset is, and what to do about it.
func keysetPlace(c *config.Config) string {
	switch {
	case c.Credentials.KeysetText != "":
		return "the keyset of credentials.keyset-text: keep a copy of it elsewhere"
	case c.Credentials.Keyset != "":
		return "the keyset " + c.Credentials.Keyset + ": keep a copy of it elsewhere"
	}
	return "the keyset " + shownDir(c) + ".json: keep a copy of that file elsewhere"
}

// shownDir is the folder of private keys, as somebody finds it who is not where reeve was
// started.
func shownDir(c *config.Config) string {
	dir, err := filepath.Abs(keysDir(c))
	if err != nil {
		return keysDir(c)
	}
	return dir
}

// lost says that the local store has private keys, to somebody who finds no application
// in the database; it is empty when there are none.
func lost(c *config.Config) string {
	n, err := certstore.LocalEntries(keysDir(c))
	if err != nil || n == 0 {
		return ""
	}
	return fmt.Sprintf("; but %s holds private keys (%d), so that a database may have been lost: restore it from a backup, or let reeve go on with those keys: reeve cert adopt, for each application", shownDir(c), n)
}

// unknownKeys are the private keys in the local store that the database knows nothing
// of, as when it was lost. Nothing is made where there are none.
func (a *App) unknownKeys(ctx context.Context) ([]certstore.Entry, error) {
	if n, err := certstore.LocalEntries(keysDir(a.Config)); err != nil || n == 0 {
		return nil, err
	}
	applications, err := a.DB.Applications(ctx, a.Tenant)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, app := range applications {
		for _, c := range app.Credentials {
			known[c.ID] = true
		}
	}
	if err := a.openStores(ctx); err != nil {
		return nil, err
	}
	local := a.stores[credential.StoreLocal]
	ids, err := local.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []certstore.Entry
	for _, id := range ids {
		if known[id] {
			continue
		}
		e, err := local.Get(ctx, id)
		switch {
		case errors.Is(err, certstore.ErrKeyset):
			return nil, err // and others would be sealed by the wrong one
		case err != nil:
			a.log.Warn("A private key that the database does not know cannot be read.", "error", err)
		default:
			all = append(all, e)
		}
	}
	return all, nil
}

// newestThatSignsIn finds among private keys of an application the one with the newest
// certificate that Entra ID takes.
func (a *App) newestThatSignsIn(ctx context.Context, entries []certstore.Entry) (certstore.Entry, bool) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e certstore.Entry) bool {
		return e.Certificate == nil || e.Pair().UsableForSignIn(a.now()) != nil
	})
	slices.SortFunc(entries, func(x, y certstore.Entry) int { return y.Certificate.NotBefore.Compare(x.Certificate.NotBefore) })
	prover := m365.Prover{Cloud: a.Cloud, HTTP: a.http, Now: a.now}
	const most = 10 // the newest: what is older was retired
	for _, e := range entries[:min(len(entries), most)] {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err := prover.Prove(ctx, m365.ProofRequest{TenantID: e.TenantID, ClientID: e.ClientID, Pair: e.Pair(), Resource: a.Cloud.GraphAudience})
		cancel()
		if err == nil {
			return e, true
		}
		a.log.Debug("A private key that the database does not know does not sign in.", "entry", e.ID, "error", err)
	}
	return certstore.Entry{}, false
}

// keyset is what the private keys are encrypted with.
func (a *App) keyset(ctx context.Context, dir string) (*certstore.Keyset, error) {
	c := a.Config.Credentials
	source := certstore.KeysetSource{Entries: dir, Text: c.KeysetText.Reveal(), File: filepath.Clean(dir) + ".json"}
	if c.Keyset != "" && c.KeysetText == "" {
		ref, err := certstore.ParseReference(c.Keyset)
		switch {
		case err != nil:
			return nil, failWith(exitConfig, "credentials.keyset: %w", err)
		case ref.Kind == certstore.KindFile:
			source.File = ref.Path
		case ref.Kind == certstore.KindSecret:
			source.File, source.Secret = "", ref
			if source.Vault, err = a.vault(ref.VaultURL); err != nil {
				return nil, err
			}
		default:
			return nil, failWith(exitConfig, "credentials.keyset is %s: give the path of a file, or https://VAULT/secrets/NAME", c.Keyset)
		}
	}
	if source.Text != "" {
		source.File = ""
	}
	return certstore.OpenKeyset(ctx, source)
}

// vault opens a Key Vault, once for each address; that of vault-url when it is empty.
func (a *App) vault(address string) (*certstore.KeyVault, error) {
	if address == "" {
		address = a.Config.VaultURL
	}
	if address == "" {
		return nil, failWith(exitConfig, "vault-url is not set, and the reference to the Key Vault names none")
	}
	address = strings.ToLower(strings.TrimSuffix(address, "/"))
	a.vaultsMu.Lock()
	defer a.vaultsMu.Unlock()
	if v, ok := a.vaults[address]; ok {
		return v, nil
	}
	v, err := openVault(a.Config, certstore.Reference{VaultURL: address}, a.Cloud, a.http)
	if err != nil {
		return nil, err
	}
	if a.vaults == nil {
		a.vaults = map[string]*certstore.KeyVault{}
	}
	a.vaults[address] = v
	return v, nil
}

// openVaults are those opened so far.
type openVaults struct {
	vaultsMu sync.Mutex // guards what follows
	vaults   map[string]*certstore.KeyVault
}

// openedStores are the certificate stores, once they were needed.
type openedStores struct {
	storesMu sync.Mutex // guards what follows
	stores   map[string]certstore.Store
}

// openStores opens the certificate stores that the configuration allows for, once. After
// it they do not change.
func (a *App) openStores(ctx context.Context) error {
	a.storesMu.Lock()
	open := a.stores != nil
	a.storesMu.Unlock()
	if open {
		return nil
	}
	// Without the lock, since a keyset may be in a vault; who is second throws his away.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dir := keysDir(a.Config)
	keyset, err := a.keyset(ctx, dir)
	if err != nil {
		return err
	}
	local, err := certstore.OpenLocal(dir, keyset)
	if err != nil {
		return err
	}
	local.Now = a.now
	stores := map[string]certstore.Store{credential.StoreLocal: local}
	if a.Config.VaultURL != "" {
		vault, err := a.vault("")
		if err != nil {
			return errors.Join(err, local.Close())
		}
		stores[credential.StoreSecrets] = certstore.NewVaultSecrets(vault)
		stores[credential.StoreKeys] = certstore.NewVaultKeys(context.WithoutCancel(ctx), vault)
	}
	a.storesMu.Lock()
	defer a.storesMu.Unlock()
	if a.stores != nil {
		return local.Close()
	}
	a.stops = append(a.stops, local.Close)
	a.stores = stores
	return nil
}

// openTarget opens a live place.
func (a *App) openTarget(name string) (certstore.Target, error) {
	ref, err := certstore.ParseTarget(name)
	if err != nil {
		return nil, err
	}
	o := certstore.TargetOptions{Notice: func(text string) { a.log.Warn(text, "target", name) }}
	if ref.Kind == certstore.TargetKeyVault {
		if o.Vault, err = a.vault(ref.VaultURL); err != nil {
			return nil, err
		}
	}
	return ref.Open(o)
}

// rotation builds what looks after certificates. changed is told when those of an
// application have changed.
func (a *App) rotation(ctx context.Context, changed func(credential.Application)) (*rotate.Rotator, error) {
	if err := a.openStores(ctx); err != nil {
		return nil, err
	}
	directory, err := a.directory()
	if err != nil {
		return nil, err
	}
	return rotate.New(rotate.Options{
		DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http, Directory: directory,
		Stores: a.stores, VaultURL: a.Config.VaultURL, OpenTarget: a.openTarget, RunHook: rotate.HookRunner(a.http),
		Rhythm: credential.Rhythm{Look: a.Config.Credentials.Interval},
		NewKey: a.newKey, Changed: changed, Now: a.now, Log: a.log,
		ManagerToken: a.managerToken,
	}), nil
}

// managerToken says who the manager is and what it may do at Graph.
func (a *App) managerToken(ctx context.Context) (clientID string, roles []string, err error) {
	cred, err := a.manager()
	if err != nil {
		return "", nil, err
	}
	if cred == nil {
		return "", nil, errors.New("reeve itself cannot sign in")
	}
	token, err := m365.Token(ctx, cred, a.Cloud.GraphAudience)
	if err != nil {
		return "", nil, err
	}
	_, claims, err := m365.Claims(token.Token)
	if err != nil {
		return "", nil, err
	}
	clientID, _ = claims["appid"].(string)
	all, _ := claims["roles"].([]any)
	for _, r := range all {
		if name, ok := r.(string); ok {
			roles = append(roles, name)
		}
	}
	return clientID, roles, nil
}

// directory is Graph as the manager sees it.
func (a *App) directory() (*graph.Client, error) {
	if a.person != nil {
		return a.person, nil
	}
	cred, err := a.manager()
	if err != nil || cred == nil {
		return nil, err
	}
	return graph.New(graph.Options{Cloud: a.Cloud, Credential: cred, HTTP: a.http})
}

// manager is who reads and changes applications; nil when reeve cannot sign in at all.
func (a *App) manager() (*m365.Credential, error) {
	c := a.Config.Credentials
	s := m365.SignIn{
		Method: m365.Method(c.Manager), TenantID: a.Config.TenantID, ClientID: c.ManagerClientID,
		FederatedTokenFile: a.Config.Auth.FederatedTokenFile,
	}
	switch c.Manager {
	case "application":
		return a.Credential, nil
	case "certificate":
		var err error
		if s.Pair, err = certstore.File(c.ManagerCertificate, ""); err != nil {
			return nil, failWith(exitConfig, "credentials.manager-certificate: %w", err)
		}
	}
	cred, err := m365.NewCredential(a.Cloud, s, a.http)
	if err != nil {
		return nil, failWith(exitConfig, "credentials.manager: %w", err)
	}
	return cred, nil
}

// own finds reeve's own application among those that are looked after.
func (a *App) own(ctx context.Context) (credential.Application, bool, error) {
	all, err := a.DB.Applications(ctx, a.Tenant)
	if err != nil {
		return credential.Application{}, false, err
	}
	for _, app := range all {
		if strings.EqualFold(app.ClientID, a.Config.ClientID) {
			return app, true, nil
		}
	}
	return credential.Application{}, false, nil
}

// pair fetches a credential with its private key.
func (a *App) pair(ctx context.Context, c credential.Credential) (pki.Pair, error) {
	if err := a.openStores(ctx); err != nil {
		return pki.Pair{}, err
	}
	return rotate.New(rotate.Options{DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http, Stores: a.stores, Now: a.now, Log: a.log}).Pair(ctx, c)
}

// ownPairs are the certificates that reeve itself signs in with, when it looks after
// them: the active one and the standby. They are empty when it does not. When the active
// one alone cannot be fetched, the standby comes with the error.
func (a *App) ownPairs(ctx context.Context) (active, standby pki.Pair, generation int64, err error) {
	app, ok, err := a.own(ctx)
	if err != nil || !ok || app.Mode == credential.Off {
		return active, standby, 0, err
	}
	if c, ok := app.Active(); ok {
		active, err = a.pair(ctx, c)
		generation = c.Generation
	}
	if c, ok := app.Standby(); ok {
		var failed error
		if standby, failed = a.pair(ctx, c); failed != nil {
			a.log.Warn("The standby certificate cannot be fetched.", "error", failed)
		}
	}
	return active, standby, generation, err
}

// follow keeps reeve's own certificate up to date, whoever renews it: it looks into the
// database when it is woken and each half minute, until ctx ends.
func (a *App) follow(ctx context.Context, woken <-chan struct{}) {
	var generation int64
	var standbyIs string
	unseen := false // and it was said
	for {
		active, standby, now, err := a.ownPairs(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !unseen {
				a.log.Warn("Whether the certificate was renewed could not be seen; the one in use stays.", "error", err)
			}
			unseen = true
		default:
			if unseen {
				a.log.Info("Whether the certificate was renewed can be seen again.")
			}
			unseen = false
			if active.Certificate != nil && !active.Certificate.Equal(a.Credential.Pair().Certificate) && now != generation {
				if err := a.Credential.Swap(ctx, active); ctx.Err() != nil {
					return
				} else if err != nil {
					a.log.Warn("The renewed certificate could not be taken yet; the one in use stays.", "error", err)
					now = generation
				} else {
					a.log.Info("Signing in with a renewed certificate from now on.", "sha1", pki.SHA1(active.Certificate), "not_after", active.Certificate.NotAfter)
				}
			}
			generation = now
		}
		name := ""
		if standby.Certificate != nil {
			name = pki.SHA256(standby.Certificate)
		}
		// With an error, that there is none says nothing.
		if name != standbyIs && (err == nil || name != "") {
			a.Credential.SetStandby(standby)
			standbyIs = name
		}
		timer := time.NewTimer(30 * time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-woken:
			timer.Stop()
		}
	}
}

// followed lets follow run until the function that it returns is called.
func (a *App) followed(ctx context.Context) (stop func()) {
	if m365.Method(a.Config.Auth.Method) != m365.MethodCertificate {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.follow(ctx, nil)
	}()
	return func() {
		cancel()
		<-done
	}
}

// notifier makes what sends notices.
func (a *App) notifier(ca []byte) (*notify.Sender, error) {
	s := &notify.Sender{DB: a.DB, Tenant: a.Tenant, Now: a.now, Log: a.log}
	if m := a.Config.Notify.Mail; m.Host != "" {
		targets, err := notify.NewMail(notify.MailOptions{
			Host: m.Host, Port: m.Port, From: m.From, To: m.To, SubjectPrefix: m.SubjectPrefix,
			Username: m.Username, Password: m.Password.Reveal(), TLS: notify.TLS(m.TLS), CA: ca,
		})
		if err != nil {
			return nil, failWith(exitConfig, "notify.mail: %w", err)
		}
		s.Targets = append(s.Targets, targets...)
	}
	if w := a.Config.Notify.Webhook; w.URL != "" {
		target, err := notify.NewWebhook(notify.WebhookOptions{URL: w.URL.Reveal(), Secret: w.Secret.Reveal(), CA: ca, Now: a.now})
		if err != nil {
			return nil, failWith(exitConfig, "notify.webhook: %w", err)
		}
		s.Targets = append(s.Targets, target)
	}
	return s, nil
}

// tell sends notices until ctx ends.
func tell(ctx context.Context, s *notify.Sender) {
	failing := false // and it was said
	for {
		next, err := s.Deliver(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := 15 * time.Second // for what is posted meanwhile
		switch {
		case err != nil && !failing:
			s.Log.Error("Notices could not be sent; it is tried again until they can.", "error", err)
		case err == nil && failing:
			s.Log.Info("Notices can be sent again.")
		}
		failing = err != nil
		if err == nil && !next.IsZero() {
			wait = min(wait, max(next.Sub(s.Now()), 0))
		}
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// actor is who is at the keyboard, for the journal.
func actor() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "somebody at the command line"
	}
	return u.Username
}
