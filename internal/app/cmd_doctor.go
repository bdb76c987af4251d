package app

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/doctor"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/store"
)

func doctorCommand(p *program) *cobra.Command {
	var asJSON, offline, hosts, asCSV, allClouds bool
	var only, feeds []string
	var bundle string
	var patience time.Duration
	names, about := doctor.Checks()
	var list strings.Builder
	for i := range names {
		fmt.Fprintf(&list, "  %-12s %s\n", names[i], about[i])
	}
	cmd := &cobra.Command{
		Use: "doctor", GroupID: "main",
		Short: "See whether this machine and its network let reeve work",
		Long: `doctor looks at this machine and its network as reeve needs them: what is wrong,
what to do about it, and who can. It signs in nowhere, sends no secret and changes
nothing. All checks run at once, and end within --patience. The exit code is 7 when
one has failed.

` + list.String() + `
With --bundle it writes what it found to a file for others: without secrets, and with
pseudonyms in the place of names. With --hosts it lists the hosts that a firewall has to
open, and checks nothing.`,
		Example: `  reeve doctor
  reeve doctor --only clock,dns,tls --json
  reeve doctor --bundle support.zip
  reeve doctor --hosts --all-clouds --csv > hosts.csv`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range only {
				if !slices.Contains(names, name) {
					return failWith(exitUsage, "there is no check %q: there are %s", name, strings.Join(names, ", "))
				}
			}
			switch {
			case (asCSV || allClouds) && !hosts:
				return failWith(exitUsage, "--csv and --all-clouds are for --hosts")
			case hosts && (bundle != "" || offline || len(only) > 0):
				return failWith(exitUsage, "--hosts checks nothing, so that --bundle, --offline and --only have no meaning with it")
			case patience <= 0 || patience > 19*time.Second:
				return failWith(exitUsage, "--patience is %s: give more than 0s, and at most 19s", patience)
			}
			c, err := p.load(false)
			if err != nil {
				return err
			}
			chosen, err := chosenFeeds(c, feeds)
			if err != nil {
				return failWith(exitUsage, "%w", err)
			}
			var cloud m365.Cloud
			client, err := signInTo(c, &cloud)
			if err != nil {
				return err
			}
			if hosts {
				return p.printHosts(cloud, chosen, vaultsOf(c), allClouds, asJSON, asCSV)
			}
			o := doctorOptions(c, p.environ)
			o.Cloud, o.HTTP, o.Feeds, o.Now, o.Patience = cloud, client, chosen, p.now, patience
			if o.CA, err = caOf(c); err != nil {
				return err
			}
			results := doctor.New(o).Run(cmd.Context(), offline, only...)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(p.Out, map[string]any{"status": doctor.Worst(results), "results": results})
			} else {
				err = p.printResults(results)
			}
			if err != nil {
				return err
			}
			if bundle != "" {
				if err := p.bundle(cmd.Context(), c, bundle, results); err != nil {
					return err
				}
			}
			if doctor.Worst(results) == doctor.Failed {
				return failWith(exitCheck, "a check has failed")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&offline, "offline", false, "leave out what needs the network")
	cmd.Flags().StringSliceVar(&only, "only", nil, "the checks to make, by name")
	cmd.Flags().StringSliceVar(&feeds, "feeds", nil, "the feeds that are wanted, instead of those that are configured: "+strings.Join(permission.Names(), ", "))
	cmd.Flags().StringVar(&bundle, "bundle", "", "write a support file (ZIP) without secrets or names")
	cmd.Flags().DurationVar(&patience, "patience", 10*time.Second, "how long the checks may take, at most 19s")
	cmd.Flags().BoolVar(&hosts, "hosts", false, "list the hosts that the feeds need, and check nothing")
	cmd.Flags().BoolVar(&allClouds, "all-clouds", false, "with --hosts: for each of Microsoft's clouds")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "with --hosts: print CSV")
	cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("feeds", cobra.FixedCompletions(permission.Names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// chosenFeeds are those that are named, or those that are configured.
func chosenFeeds(c *config.Config, names []string) ([]permission.Feed, error) {
	if names == nil {
		if c.Feeds.Audit.Enabled {
			names = append(names, "audit")
			if slices.Contains(c.Feeds.Audit.ContentTypes, "DLP.All") {
				names = append(names, "dlp")
			}
		}
		if c.Credentials.Mode != "off" {
			names = append(names, "credentials")
		}
	}
	return permission.Choose(names)
}

// vaultsOf are the key vaults that the settings name, each once.
func vaultsOf(c *config.Config) []string {
	addresses := []string{c.VaultURL}
	for _, text := range []string{c.Auth.Certificate, c.Credentials.Keyset} {
		if ref, err := certstore.ParseReference(text); err == nil && ref.Kind != certstore.KindFile {
			addresses = append(addresses, ref.VaultURL)
		}
	}
	var all []string
	for _, a := range addresses {
		if a = strings.ToLower(strings.TrimSuffix(a, "/")); a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// doctorOptions are what the settings say of this machine.
func doctorOptions(c *config.Config, environ []string) doctor.Options {
	path := strings.TrimPrefix(c.Database.URL, "sqlite:")
	o := doctor.Options{
		TenantID: c.TenantID, ClientID: c.ClientID, Method: m365.Method(c.Auth.Method), Vaults: vaultsOf(c), CAFile: c.CAFile,
		Identity: c.Auth.Method == string(m365.MethodManagedIdentity) || c.Credentials.Manager == string(m365.MethodManagedIdentity) ||
			c.Auth.InVault() && c.Auth.VaultMethod == string(m365.MethodManagedIdentity),
		Database: path, Look: func(ctx context.Context) (string, error) { return lookAtDatabase(ctx, c.Database.URL) },
		Listen: c.Listen, Webhook: doctor.Origin(c.Notify.Webhook.URL.Reveal()),
		Mail:    doctor.Mail{Host: c.Notify.Mail.Host, Port: c.Notify.Mail.Port, TLS: c.Notify.Mail.TLS},
		Environ: environ,
	}
	add := func(what, path string, made bool) {
		if path != "" {
			o.Files = append(o.Files, doctor.File{What: what, Path: path, Made: made})
		}
	}
	if c.Auth.Method == string(m365.MethodCertificate) && !c.Auth.InVault() {
		o.Certificate = c.Auth.Certificate
		add("auth.certificate", c.Auth.Certificate, false)
	}
	add("auth.vault-certificate", c.Auth.VaultCertificate, false)
	add("credentials.manager-certificate", c.Credentials.ManagerCertificate, false)
	add("the database", path, true)
	if c.Credentials.Mode != "off" {
		dir := c.Credentials.Dir
		if dir == "" {
			dir = filepath.Join(filepath.Dir(path), "reeve-keys")
		}
		add("the folder of private keys", dir, true)
		switch ref, err := certstore.ParseReference(c.Credentials.Keyset); {
		case c.Credentials.KeysetText != "":
		case c.Credentials.Keyset == "":
			add("the keyset", filepath.Clean(dir)+".json", true)
		case err == nil && ref.Kind == certstore.KindFile:
			add("the keyset", ref.Path, true)
		}
	}
	for _, k := range config.Keys() {
		if !k.Secret() {
			continue
		}
		for _, line := range environ {
			if name, file, _ := strings.Cut(line, "="); strings.EqualFold(name, k.Env+"_FILE") {
				add(k.Name, file, false)
			}
		}
	}
	return o
}

// lookAtDatabase says how the database is.
func lookAtDatabase(ctx context.Context, address string) (string, error) {
	is, err := store.Look(ctx, address)
	if err != nil {
		return "", err
	}
	seen := fmt.Sprintf("it opens and can be written, schema version %d, %.1f MiB", is.Schema, float64(is.Bytes)/(1<<20))
	if is.Schema < is.Known {
		seen += fmt.Sprintf("; the next start brings it to version %d, after which an older reeve cannot use it", is.Known)
	}
	return seen, nil
}

func (p *program) printResults(results []doctor.Result) error {
	counts := map[doctor.Status]int{}
	for _, r := range results {
		counts[r.Status]++
		name := strings.TrimSpace(r.Check + " " + r.Of)
		fmt.Fprintf(p.Out, "%-8s %s: %s\n", r.Status, name, r.Seen)
		if r.Remedy != "" {
			fmt.Fprintf(p.Out, "         do:  %s\n         who: %s\n", r.Remedy, r.Who)
		}
	}
	_, err := fmt.Fprintf(p.Out, "\n%d ok, %d warnings, %d failed, %d skipped\n",
		counts[doctor.OK], counts[doctor.Warning], counts[doctor.Failed], counts[doctor.Skipped])
	return err
}

// printHosts lists hosts for those who look after a firewall.
func (p *program) printHosts(cloud m365.Cloud, feeds []permission.Feed, vaults []string, all, asJSON, asCSV bool) error {
	clouds := []m365.Cloud{cloud}
	if all {
		clouds = nil
		for _, name := range m365.CloudNames() {
			if c, err := m365.LookupCloud(name); err == nil && name != m365.Custom {
				clouds = append(clouds, c)
			}
		}
		vaults = nil // they are in one of the clouds
	}
	hosts, limits := []doctor.Host{}, []string{}
	for _, c := range clouds {
		hosts = append(hosts, doctor.Hosts(c, feeds, vaults)...)
		for _, l := range doctor.Limits(c.Name, feeds) {
			limits = append(limits, c.Name+": "+l)
		}
	}
	if asJSON {
		return printJSON(p.Out, map[string]any{"hosts": hosts, "limits": limits})
	}
	feedsOf := func(h doctor.Host) string {
		if len(h.Feeds) == 0 {
			return "all"
		}
		return strings.Join(h.Feeds, " ")
	}
	if asCSV {
		w := csv.NewWriter(p.Out)
		w.Write([]string{"cloud", "host", "port", "protocol", "feeds", "why"})
		for _, h := range hosts {
			w.Write([]string{h.Cloud, h.Host, h.Port, "https", feedsOf(h), h.Why})
		}
		w.Flush()
		return w.Error()
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cloud\thost\tport\tfeeds\twhy")
	for _, h := range hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", h.Cloud, h.Host, h.Port, feedsOf(h), h.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.Out, "\nAll by HTTPS, from this machine to there; nothing has to reach this machine. Revocation\nlists are not fetched, so port 80 stays shut.")
	for _, l := range limits {
		fmt.Fprintln(p.Out, "cannot work in", l)
	}
	return nil
}

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
		return err
	}
	fmt.Fprintf(p.Err, "%s is written. Look at it before you pass it on.\n", path)
	return nil
}

// nothingButWords are values that may be names, and look like what reeve says itself.
var nothingButWords = regexp.MustCompile(`^[\p{L}\p{M} '-]+$`)

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
		c.Notify.Mail.Password.Reveal(), c.Notify.Webhook.URL.Reveal(), c.Notify.Webhook.Secret.Reveal(),
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
		is, err := store.Look(ctx, c.Database.URL)
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
