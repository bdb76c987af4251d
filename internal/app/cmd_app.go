package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/store"
)

func appCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "app", GroupID: "main",
		Short: "Set reeve up in a tenant: its application, permissions and first certificate",
		Long: `app makes what reeve needs at Entra ID, finds what somebody else has made for it, and
takes away what it made. Each command says first what it would do.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(appSetupCommand(p), appScriptCommand(p), appDiscoverCommand(p), appConsentCommand(p), appSampleCommand(p), appRemoveCommand(p))
	return cmd
}

// administrator says how somebody signs in who may change the tenant.
type administrator struct {
	how         string // one of administrators
	clientID    string
	certificate string
}

const (
	byDeviceCode = "device-code"
	byOwnPair    = "certificate"
)

func (o *administrator) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.how, "sign-in", byDeviceCode, "who signs in to do it: device-code for a person at a web page, certificate for another application that may")
	f.StringVar(&o.clientID, "sign-in-client-id", "", "the client ID of that other application")
	f.StringVar(&o.certificate, "sign-in-certificate", "", "the path of its certificate with the private key")
	complete(cmd, "sign-in", []string{byDeviceCode, byOwnPair})
	complete(cmd, "sign-in-client-id", nil)
}

// signInAdministrator signs in who sets up, and finds out in which tenant: the one of
// the settings, if they name one. Nothing of the sign-in is kept.
func (p *program) signInAdministrator(ctx context.Context, a *App, o *administrator, permissions []string) (registration.Caller, graph.Organization, error) {
	var none graph.Organization
	who, err := p.asAdministrator(a, o, permissions)
	if err != nil {
		return registration.Caller{}, none, err
	}
	who = &held{inner: who, now: p.now}
	token, err := m365.Token(ctx, who, a.Cloud.GraphAudience)
	if err != nil {
		return registration.Caller{}, none, err
	}
	if a.person, err = graph.New(graph.Options{Cloud: a.Cloud, Credential: who, HTTP: a.http}); err != nil {
		return registration.Caller{}, none, err
	}
	caller := registration.ReadCaller(token.Token)
	tenant, err := a.person.Organization(ctx)
	if errors.Is(err, m365.ErrForbidden) && !caller.Person && caller.TenantID != "" {
		tenant, err = graph.Organization{TenantID: caller.TenantID}, nil // it may do without the name
	}
	if err != nil {
		return caller, none, err
	}
	if a.Config.TenantID != "" && !strings.EqualFold(a.Config.TenantID, tenant.TenantID) {
		return caller, none, &registration.Refusal{Kind: registration.ErrTenant,
			Cause:  fmt.Sprintf("%s has signed in to tenant %s, and tenant-id is %s", caller.Name, nameOfTenant(tenant), a.Config.TenantID),
			Remedy: "sign in with an account of the tenant that is meant, or correct tenant-id"}
	}
	return caller, tenant, nil
}

// nameOfTenant is a tenant for people.
func nameOfTenant(t graph.Organization) string {
	if t.Name == "" {
		return t.TenantID
	}
	return fmt.Sprintf("%s (%s)", plain(t.Name), t.TenantID)
}

// held keeps the token of somebody who has signed in, in memory, so that a person is asked
// once and not for each use.
type held struct {
	inner azcore.TokenCredential
	now   func() time.Time

	mu    sync.Mutex
	token azcore.AccessToken
}

// GetToken implements azcore.TokenCredential. All that use it ask for the same, unless the
// API asks for claims that the token has not, as after a change of conditional access.
func (h *held) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token.Token != "" && o.Claims == "" && h.now().Before(h.token.ExpiresOn.Add(-5*time.Minute)) {
		return h.token, nil
	}
	token, err := h.inner.GetToken(ctx, o)
	if err == nil {
		h.token = token
	}
	return token, err
}

func (p *program) asAdministrator(a *App, o *administrator, permissions []string) (azcore.TokenCredential, error) {
	if err := oneOf("sign-in", o.how, []string{byDeviceCode, byOwnPair}); err != nil {
		return nil, err
	}
	if o.how == byDeviceCode {
		tenant := a.Config.TenantID
		if tenant == "" {
			tenant = "organizations" // that of whoever signs in
		}
		return m365.NewPerson(a.Cloud, tenant, a.http, func(message string) { fmt.Fprintln(p.Err, message) }, permissions...)
	}
	switch {
	case o.clientID == "":
		return nil, wrongFlag("sign-in-client-id", errors.New("it is needed with --sign-in certificate"))
	case o.certificate == "":
		return nil, wrongFlag("sign-in-certificate", errors.New("it is needed with --sign-in certificate"))
	case a.Config.TenantID == "":
		return nil, failWith(exitConfig, "tenant-id is not set, which an application cannot sign in without")
	}
	pair, err := certstore.File(o.certificate, "")
	if err != nil {
		return nil, wrongFlag("sign-in-certificate", err)
	}
	return m365.NewCredential(a.Cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: a.Config.TenantID, ClientID: o.clientID, Pair: pair}, a.http)
}

// setting is a Setup that keeps its record in the database, and tells the journal of the
// application what it does.
func (p *program) setting(a *App, w registration.Wanted, caller registration.Caller, k kept) *registration.Setup {
	return &registration.Setup{
		Graph: a.person, Cloud: a.Cloud, Wanted: w, Caller: caller, Record: k.Record, Now: p.now, Sleep: sleep,
		Say: func(text string) { fmt.Fprintln(p.Err, plain(text)) },
		Save: func(ctx context.Context, r registration.Record, events ...registration.Event) error {
			data, err := r.Encode()
			if err != nil {
				return err
			}
			var happened []store.JournalEntry
			for _, e := range events {
				happened = append(happened, store.JournalEntry{At: p.now(), Actor: cmp.Or(caller.Name, actor()), Step: "setup", Outcome: e.Outcome, Text: plain(e.Text)})
			}
			row := store.Registration{Name: k.key, ClientID: r.ClientID, ObjectID: r.ObjectID, Data: data}
			if err := a.DB.SaveRegistration(context.WithoutCancel(ctx), a.Tenant, row, k.data, happened...); err != nil {
				return err
			}
			k.data = data
			return nil
		},
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// kept is a record with the name that it is kept under, and as it was read; nil if there
// is none yet.
type kept struct {
	key  string
	data []byte
	registration.Record
}

// registrations are the records that are kept.
func (a *App) registrations(ctx context.Context) ([]kept, error) {
	rows, err := a.DB.Registrations(ctx, a.Tenant)
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, r := range rows {
		record, err := registration.ReadRecord(r.Data)
		if err != nil {
			return nil, failWith(exitDatabase, "reading what was made for application %s: %w", r.Name, err)
		}
		all = append(all, kept{r.Name, r.Data, record})
	}
	return all, nil
}

// usesOf are the permissions that the feeds of the names use.
func usesOf(names []string, optional bool) ([]permission.Use, error) {
	feeds, err := permission.Choose(names)
	if err != nil {
		return nil, wrongFlag("feeds", err)
	}
	return permission.Uses(feeds, optional), nil
}

// stopped says of a run that somebody has stopped what becomes of what it did.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return failWith(exitFailure, "stopped. What was changed in the tenant by then is recorded: the same command goes on from there")
	}
	return err
}

// stoppedLooking is stopped for a run that changes nothing.
func stoppedLooking(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return failWith(exitFailure, "stopped. Nothing was changed in the tenant: --dry-run only looks")
	}
	return err
}

// refusal gives a refusal its exit code.
func refusal(err error) error {
	var r *registration.Refusal
	switch {
	case !errors.As(err, &r):
		return err
	case errors.Is(r.Kind, registration.ErrRole):
		return coded{exitSignIn, err}
	case errors.Is(r.Kind, registration.ErrTenant):
		return coded{exitConfig, err}
	case errors.Is(r.Kind, registration.ErrBusy):
		return coded{exitSource, err}
	}
	return coded{exitFailure, err}
}

// usualConfig is the file that set-up writes when no other is named.
const usualConfig = "reeve.yaml"

// loadFor loads the settings for a command that writes the configuration file, which need
// not be there yet.
func (p *program) loadFor() (c *config.Config, file string, err error) {
	file = p.configFile
	for _, v := range p.environ {
		if name, ok := strings.CutPrefix(v, "REEVE_CONFIG="); ok && file == "" {
			file = name
		}
	}
	if file == "" {
		file = usualConfig
	}
	p.configFile = file
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		p.configFile = ""
		p.environ = with(p.environ, []string{"REEVE_CONFIG="})
	}
	c, err = p.load(false)
	return c, file, err
}

// keptSettings are the settings that the file has to say besides who signs in, for a
// later run without the flags and variables of this one.
var keptSettings = []string{"cloud", "authority-host", "graph-endpoint", "manage-endpoint", "logs-endpoint", "resources-endpoint", "vault-url", "ca-file",
	"database.url", "credentials.dir", "credentials.keyset"}

// allDLP is the content type of the feed dlp, which needs a permission of its own.
const allDLP = "DLP.All"

// assignments are what the file is to say.
func assignments(c *config.Config, certificate string, feeds []string) []config.Assignment {
	set := []config.Assignment{{Key: "tenant-id", Value: c.TenantID}, {Key: "client-id", Value: c.ClientID}, {Key: "auth.certificate", Value: certificate}}
	for _, s := range c.Settings() {
		if slices.Contains(keptSettings, s.Key) && s.Origin != "default" && s.Value != "" {
			set = append(set, config.Assignment{Key: s.Key, Value: s.Value})
		}
	}
	audit, dlp := slices.Contains(feeds, "audit"), slices.Contains(feeds, "dlp")
	if c.Feeds.Audit.Enabled != (audit || dlp) {
		set = append(set, config.Assignment{Key: "feeds.audit.enabled", Value: fmt.Sprint(audit || dlp)})
	}
	types := slices.DeleteFunc(slices.Clone(c.Feeds.Audit.ContentTypes), func(t string) bool {
		return t == allDLP && !dlp || t != allDLP && !audit
	})
	if dlp && !slices.Contains(types, allDLP) {
		types = append(types, allDLP)
	}
	if (audit || dlp) && len(types) > 0 && !slices.Equal(types, c.Feeds.Audit.ContentTypes) {
		set = append(set, config.Assignment{Key: "feeds.audit.content-types", Value: strings.Join(types, ",")})
	}
	return set
}

// configChanges are what would change in the file; text is what it would say.
func configChanges(file string, set []config.Assignment) (text []byte, changes []config.Change, err error) {
	now, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, failWith(exitConfig, "reading %s: %w", file, err)
	}
	text, changes, err = config.Edit(file, now, set)
	if err != nil {
		return nil, nil, failWith(exitConfig, "%w", err)
	}
	return text, changes, nil
}

// writeConfig writes what is to be said into the file, and says what it changes.
func (p *program) writeConfig(file string, set []config.Assignment) ([]config.Change, error) {
	text, changes, err := configChanges(file, set)
	if err != nil || len(changes) == 0 {
		return changes, err
	}
	if err := certstore.WriteFiles([]certstore.NewFile{{Path: file, Data: text}}, true); err != nil {
		return nil, err
	}
	for _, c := range changes {
		fmt.Fprintf(p.Err, "%s: %s\n", file, changed(c))
	}
	return changes, nil
}

func changed(c config.Change) string {
	if c.From == "" {
		return fmt.Sprintf("%s is %s", c.Key, plain(c.To))
	}
	return fmt.Sprintf("%s was %s, and is %s", c.Key, plain(c.From), plain(c.To))
}
