package app

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/web"
)

func demoCommand(p *program) *cobra.Command {
	var o tenantOptions
	var once, asJSON bool
	cmd := &cobra.Command{
		Use: "demo", GroupID: "main",
		Short: "Show the main job on an emulated tenant: nothing else is needed",
		Long: `demo makes an emulated tenant, signs in to it with a certificate, imports its
audit log into a database, and checks record by record that nothing is missing.
Then it serves a status page and goes on importing, until it is stopped.

It goes the way of a real import: reeve gets the tenant's addresses and the
certificate as settings and knows nothing else of it. The database is temporary
unless database-url says otherwise.`,
		Example: `  reeve demo
  reeve demo --once --json
  reeve demo --once --users 500 --days 7 --database-url sqlite:demo.db`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.demo(cmd.Context(), &o, once, asJSON)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "end when the import is complete")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return cmd
}

// demoSummary is what a demo has shown. Every record that the tenant generated
// is in exactly one of Stored, OutOfScope, Quarantined and Missing.
type demoSummary struct {
	Generated   int            `json:"generated"`
	Stored      int            `json:"stored"`
	OutOfScope  int            `json:"out_of_scope"`
	Quarantined int            `json:"quarantined"`
	Missing     int            `json:"missing"`
	Duplicate   int64          `json:"duplicate"` // came again and were not stored again
	Complete    bool           `json:"complete"`
	Rows        map[string]any `json:"rows"`
	Ledger      map[string]any `json:"ledger"`
	Certificate struct {
		Subject  string    `json:"subject"`
		SHA1     string    `json:"sha1"`
		SHA256   string    `json:"sha256"`
		NotAfter time.Time `json:"not_after"`
	} `json:"certificate"`
	Database   string   `json:"database"`
	MissingIDs []string `json:"missing_ids,omitempty"` // some of them
	Seconds    float64  `json:"seconds"`
	PeakMemory int64    `json:"peak_memory_bytes"`
}

func (p *program) demo(ctx context.Context, o *tenantOptions, once, asJSON bool) error {
	started := p.now()
	dir, err := os.MkdirTemp("", "reeve-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e, t, err := o.start()
	if err != nil {
		return err
	}
	defer e.Close()
	variables, err := e.WriteClient(filepath.Join(dir, "tenant"))
	if err != nil {
		return err
	}
	holds := fmt.Sprintf("%d people, %d days of audit log", o.Users, o.Days)
	if o.records != "" {
		holds = "the audit records of " + o.records
	}
	fmt.Fprintf(p.Err, "The emulated tenant %s is ready: %s. Nothing leaves this machine.\n", t.DisplayName, holds)

	// From here on it is the user's way: settings, and nothing else. Settings of
	// this machine's own tenant must not mix in.
	host, _, _ := strings.Cut(t.Domain, ".")
	p.environ = append(others(p.environ), variables...)
	p.environ = with(p.environ, []string{
		"REEVE_DATABASE_URL=sqlite:" + filepath.Join(dir, "reeve.db"),
		"REEVE_FEEDS_AUDIT_INTERVAL=30s", // the tenant is alive: one can watch it
		"REEVE_FEEDS_AUDIT_ORG_URLS=https://" + host + ".sharepoint.com,https://" + host + "-my.sharepoint.com",
	})
	if o.records != "" {
		p.environ = with(p.environ, []string{"REEVE_FEEDS_AUDIT_ORG_URLS=", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true"})
	}
	p.configFile = ""
	c, err := p.load(true)
	if err != nil {
		return err
	}
	log := logger(p.Err, c)
	announce(p.Err, c, log)
	a, err := p.setup(ctx, c, log)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.setScope(ctx); err != nil {
		return err
	}
	defer a.followed(ctx)()
	if !once {
		if err := a.serveDemo(p); err != nil {
			return err
		}
	}
	// What the tenant makes available from here on may or may not be listed.
	before := p.now()
	results, err := a.cycle(ctx, true, backfill{}, p.progress(c))
	if err != nil {
		return err
	}
	s, err := a.account(ctx, t, before)
	if err != nil {
		return err
	}
	s.Database = c.Database.URL
	for _, r := range results {
		s.Complete = r.Complete
		s.Duplicate += r.Duplicate
	}
	s.Seconds = p.now().Sub(started).Seconds()
	s.PeakMemory = peakMemory()
	if asJSON {
		if err := printJSON(p.Out, s); err != nil {
			return err
		}
	} else {
		p.printDemo(s)
	}
	if s.Missing > 0 {
		return failWith(exitCheck, "%d of %d generated records are missing", s.Missing, s.Generated)
	}
	if err := incomplete(results); err != nil || once {
		return err
	}
	fmt.Fprintln(p.Err, "\nThe tenant goes on, and so does the import. Ctrl-C ends the demo.")
	if err := a.run(ctx, nil); ctx.Err() == nil {
		return err
	}
	return nil
}

// others leaves out the settings of reeve, of the Azure SDKs and of the
// original engine.
func others(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		upper := strings.ToUpper(name)
		return strings.HasPrefix(upper, "REEVE_") || strings.HasPrefix(upper, "AZURE_") ||
			slices.Contains([]string{"TENANTGUID", "CLIENTID", "CLIENTSECRET", "USECLIENTCERTIFICATE", "KEYVAULTURL", "AADINSTANCE",
				"CONTENTTYPESLISTASSTRING", "DAYSBEFORENOWTODOWNLOAD", "IMPORTJOBSETTINGS"}, upper)
	})
}

// account looks for every record that the tenant had made available before a
// time in the database, by its Id. A later one counts only if it was imported.
func (a *App) account(ctx context.Context, t *tenant.Tenant, before time.Time) (*demoSummary, error) {
	s := &demoSummary{}
	where, err := a.DB.Whereabouts(ctx, a.Tenant)
	if err != nil {
		return nil, err
	}
	for r := range t.Audit.Records() {
		at := where(r.ID)
		if at == store.IsMissing && !r.Created.Before(before) {
			continue
		}
		s.Generated++
		switch at {
		case store.IsStored:
			s.Stored++
		case store.IsIgnored:
			s.OutOfScope++
		case store.IsQuarantined:
			s.Quarantined++
		default:
			s.Missing++
			if len(s.MissingIDs) < 10 {
				s.MissingIDs = append(s.MissingIDs, r.ID)
			}
		}
	}
	standing, err := status(ctx, a.DB, a.Tenant)
	if err != nil {
		return nil, err
	}
	parts := map[string]int64{}
	for _, x := range standing.Feeds["audit"] {
		parts[x.Part] = x.Stored
	}
	s.Rows = map[string]any{"feeds": map[string]any{"audit": parts}, "workloads": standing.Workloads}
	windows, blobs, err := a.DB.Ledger(a.Tenant, "audit").States(ctx)
	if err != nil {
		return nil, err
	}
	s.Ledger = map[string]any{"windows": byName(windows), "blobs": byName(blobs)}
	cert := a.Pair.Certificate
	s.Certificate.Subject, s.Certificate.SHA1, s.Certificate.SHA256 = cert.Subject.String(), pki.SHA1(cert), pki.SHA256(cert)
	s.Certificate.NotAfter = cert.NotAfter.UTC()
	return s, nil
}

func byName(counts []store.Count) map[string]int64 {
	m := map[string]int64{}
	for _, c := range counts {
		m[c.Name] = c.Rows
	}
	return m
}

func (p *program) printDemo(s *demoSummary) {
	w := s.Rows["workloads"].(map[string]int64)
	names := slices.SortedFunc(maps.Keys(w), func(a, b string) int { return int(w[b] - w[a]) })
	fmt.Fprintf(p.Out, `
The audit log is imported, and each record was looked up by its Id:

  %9d generated by the tenant
  %9d stored
  %9d out of scope (org-urls leaves out a partner's site)
  %9d in quarantine, with the reason
  %9d missing
  %9d came twice and were stored once

`, s.Generated, s.Stored, s.OutOfScope, s.Quarantined, s.Missing, s.Duplicate)
	for _, name := range names {
		fmt.Fprintf(p.Out, "  %9d %s\n", w[name], name)
	}
	fmt.Fprintf(p.Out, "\nSigned in with the certificate %s (%s), valid until %s.\n%.1f seconds, at most %d MiB of memory, the emulated tenant included.\n",
		s.Certificate.SHA1, s.Certificate.Subject, s.Certificate.NotAfter.Format("2006-01-02"), s.Seconds, s.PeakMemory>>20)
}

// serveDemo serves the status page until the App is closed.
func (a *App) serveDemo(p *program) error {
	site, err := web.Start(web.Options{Listen: a.Config.Listen, DB: a.DB, Tenant: a.Tenant, Log: a.log, Now: p.now,
		Rhythm: credential.Rhythm{Look: a.Config.Credentials.Interval}, Imports: a.Config.Feeds.Audit.Enabled, Every: a.Config.Feeds.Audit.Interval,
		Banner: "Demo: an emulated tenant with invented people. Nothing here is real."})
	if err != nil {
		return err
	}
	a.stops = append(a.stops, site.Close)
	fmt.Fprintf(p.Err, "\nStatus page: %s   (the database is %s)\n\n", site.URL(), a.Config.Database.URL)
	return nil
}
