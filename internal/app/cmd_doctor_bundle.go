package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/doctor"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/store"
)

// bundle writes the support file.
func (p *program) bundle(ctx context.Context, c *config.Config, path string, results []doctor.Result) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	v := version()
	type setting struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Origin string `json:"origin"`
	}
	var settings struct {
		Settings []setting `json:"settings"`
		Notices  []string  `json:"notices"`
	}
	for _, s := range c.Settings() {
		settings.Settings = append(settings.Settings, setting{s.Key, s.Value, s.Origin})
	}
	settings.Notices = c.Notices()
	scrub := doctor.NewScrubber(secretsOf(c, p.environ), append(wordsOf(), v.words()...))
	for _, s := range settings.Settings {
		if s.Origin != "default" && open(s.Key) && nothingButWords.MatchString(s.Value) {
			scrub.Always("name", s.Value)
		}
	}
	for _, r := range results {
		for _, name := range r.Names {
			scrub.Always("authority", name)
		}
	}
	parts := []doctor.Part{
		{Name: "version.json", About: "The version of reeve, and the system that it runs on.", Of: map[string]string{
			"version": v.Version, "go": v.Go, "system": runtime.GOOS, "processor": runtime.GOARCH, "at": p.now().UTC().Format(time.RFC3339)}},
		{Name: "checks.json", About: "What reeve doctor has seen.", Of: results},
		{Name: "settings.json", About: "The settings in force, and where each comes from.", Of: settings},
		{Name: "import.json", About: "How the import stands: counts, states, the newest runs, what fails.", Of: p.partOf(ctx, c, scrub, importPart)},
		{Name: "journal.json", About: "Certificates: how each application stands, the newest entries of its journal, notices sent.", Of: p.partOf(ctx, c, scrub, journalPart)},
	}
	files, abouts := doctor.BundleFiles(parts)
	fmt.Fprintf(p.Err, "%s will hold, without secrets and names:\n", path)
	for i := range files {
		fmt.Fprintf(p.Err, "  %-14s %s\n", files[i], abouts[i])
	}
	if err := doctor.WriteBundle(path, p.now(), scrub, parts); err != nil {
		return fileThere(err, err)
	}
	fmt.Fprintf(p.Err, "%s is written. Look at it before you pass it on.\n", path)
	return nil
}

// open reports whether a setting can be anything: its value may then be a name.
func open(key string) bool {
	i := slices.IndexFunc(config.Keys(), func(k config.Key) bool { return k.Name == key })
	k := config.Keys()[i]
	return k.Values == nil && (k.Type == "text" || k.Type == "list")
}

// words are those by which a version names itself.
func (v versionInfo) words() []string {
	return append(strings.FieldsFunc(v.Version, func(r rune) bool { return strings.ContainsRune("+()", r) }), v.Commit, v.Go)
}

// secretsOf are all secrets that this run knows of.
func secretsOf(c *config.Config, environ []string) []string {
	secrets := []string{
		c.Auth.CertificatePassword.Reveal(), c.Auth.ClientSecret.Reveal(), c.Credentials.KeysetText.Reveal(),
		c.Notify.Mail.Password.Reveal(), c.Notify.Webhook.URL.Reveal(), c.Notify.Webhook.Secret.Reveal(), c.Database.Password.Reveal(),
	}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		for _, part := range []string{"SECRET", "PASSWORD", "TOKEN", "IDENTITY_HEADER"} {
			if strings.Contains(strings.ToUpper(name), part) && len(value) > 3 {
				secrets = append(secrets, value)
			}
		}
	}
	return secrets
}

// wordsOf are the names that a bundle may show: of settings, what they can be, checks,
// feeds and variables.
func wordsOf() []string {
	words := []string{
		"reeve.db", "reeve.yaml", "SharePoint", "Exchange", "AzureActiveDirectory", "OneDrive", "MicrosoftTeams", "SecurityComplianceCenter",
		"amd64", "arm64", "linux", "windows", "darwin",
	}
	for _, k := range config.Keys() {
		words = append(append(words, k.Name, k.Env, k.Env+"_FILE", k.Flag), k.Values...)
	}
	names, _ := doctor.Checks()
	return append(append(words, names...), permission.Names()...)
}

// A partReader reads a part of a bundle, with the names that stand in its texts.
type partReader func(ctx context.Context, db *store.DB, tenant int) (part any, names []string, err error)

// missingPart stands in the place of a part that could not be read.
type missingPart struct {
	Missing string `json:"missing"`
}

// partOf reads a part from the database, as far as it can be read without changing it. A
// file system that hangs is left behind when ctx ends.
func (p *program) partOf(ctx context.Context, c *config.Config, scrub *doctor.Scrubber, read partReader) any {
	type outcome struct {
		part  any
		names []string
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() { done <- o }()
		is, err := store.Look(ctx, c.Database.URL, c.Database.Password.Reveal())
		if err != nil || is.Schema != is.Known {
			o.err = cmp.Or(err, errors.New("the database is of another version, and is left as it is"))
			return
		}
		db, tenant, err := p.openDatabase(ctx, c)
		if err != nil {
			o.err = err
			return
		}
		defer db.Close()
		o.part, o.names, o.err = read(ctx, db, tenant)
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return missingPart{o.err.Error()}
		}
		for _, name := range o.names {
			scrub.Always("name", name)
		}
		return o.part
	case <-ctx.Done():
		return missingPart{"the database did not answer in time"}
	}
}

// named is a count with a name, which is scrubbed like any text.
type named struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

func tallied[N int | int64](counts map[string]N) []named {
	all := []named{}
	for name, n := range counts {
		all = append(all, named{name, int64(n)})
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func importPart(ctx context.Context, db *store.DB, tenant int) (any, []string, error) {
	type part struct {
		Part, State, Error string
		Windows, Blobs     []named
		Records, Stored    int64
		Troubles           []string
	}
	var says struct {
		Parts                  []part
		Runs                   []store.Run
		Workloads, Quarantined []named
		OutOfScope             int64
		Findings               []store.Finding
	}
	s, err := status(ctx, db, tenant)
	if err != nil {
		return nil, nil, err
	}
	for _, x := range s.Feeds["audit"] {
		says.Parts = append(says.Parts, part{x.Part, x.Subscription, x.Error, tallied(x.Windows), tallied(x.Blobs), x.Records, x.Stored, x.Troubles})
	}
	says.Workloads, says.Quarantined, says.OutOfScope = tallied(s.Workloads), tallied(s.Quarantined), s.Ignored
	if says.Runs, err = db.Ledger(tenant, "audit").Runs(ctx, 20); err != nil {
		return nil, nil, err
	}
	says.Findings, err = db.Findings(ctx, tenant)
	return says, nil, err
}

func journalPart(ctx context.Context, db *store.DB, tenant int) (_ any, names []string, _ error) {
	const newest = 100
	type entry struct {
		At                                     time.Time
		Credential, Actor, Step, Outcome, Text string
	}
	type application struct {
		ClientID string
		Mode     string
		Entries  int64
		States   []named
		Journal  []entry
	}
	type delivery struct {
		Target, State string
		Since         time.Time
		Attempts      int
		Error         string
	}
	says := struct {
		Applications []application
		Deliveries   []delivery
	}{[]application{}, []delivery{}}
	apps, err := db.Applications(ctx, tenant)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range apps {
		end, err := db.JournalEnd(ctx, tenant, a.ObjectID)
		if err != nil {
			return nil, nil, err
		}
		entries, err := db.Journal(ctx, tenant, a.ObjectID, max(end-newest, 0), newest)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, a.Name)
		states := map[string]int{}
		for _, k := range a.Credentials {
			states[string(k.State)]++
		}
		x := application{a.ClientID, string(a.Mode), end, tallied(states), nil}
		for _, e := range entries {
			names = append(names, e.Actor)
			x.Journal = append(x.Journal, entry{e.At, e.Credential, e.Actor, e.Step, e.Outcome, e.Text})
		}
		says.Applications = append(says.Applications, x)
	}
	sent, err := db.Outbox(tenant).Deliveries(ctx, newest)
	for _, x := range sent {
		says.Deliveries = append(says.Deliveries, delivery{x.Target, x.State, x.Since, x.Attempts, x.Error})
	}
	return says, names, err
}
