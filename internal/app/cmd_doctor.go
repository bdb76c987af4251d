package app

import (
	"context"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"regexp"
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
				o := doctorOptions(c, p.environ)
				return p.printHosts(cloud, chosen, &o, allClouds, asJSON, asCSV)
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
	path := c.Database.File() // empty for a server
	o := doctor.Options{
		TenantID: c.TenantID, ClientID: c.ClientID, Method: m365.Method(c.Auth.Method), Vaults: vaultsOf(c), CAFile: c.CAFile,
		Identity: c.Auth.Method == string(m365.MethodManagedIdentity) || c.Credentials.Manager == string(m365.MethodManagedIdentity) ||
			c.Auth.InVault() && c.Auth.VaultMethod == string(m365.MethodManagedIdentity),
		Database: path, Look: func(ctx context.Context) (string, error) { return lookAtDatabase(ctx, c) },
		Listen: c.Listen, Webhook: doctor.Origin(c.Notify.Webhook.URL.Reveal()),
		Mail:    doctor.Mail{Host: c.Notify.Mail.Host, Port: c.Notify.Mail.Port, TLS: c.Notify.Mail.TLS},
		Environ: environ,
	}
	add := func(what, path string, made bool) {
		if path != "" {
			o.Files = append(o.Files, doctor.File{What: what, Path: path, Made: made})
		}
	}
	if c.Auth.Method == string(m365.MethodCertificate) && !c.Auth.InVault() && !c.Auth.Own() {
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
func lookAtDatabase(ctx context.Context, c *config.Config) (string, error) {
	is, err := store.Look(ctx, c.Database.URL, c.Database.Password.Reveal())
	if err != nil {
		return "", err
	}
	seen := fmt.Sprintf("it opens and can be written, %s, schema version %d, %.1f MiB", is.Engine, is.Schema, float64(is.Bytes)/(1<<20))
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
		fmt.Fprintf(p.Out, "%-8s %s: %s\n", r.Status, plain(name), plain(r.Seen))
		if r.Remedy != "" {
			fmt.Fprintf(p.Out, "         do:  %s\n         who: %s\n", plain(r.Remedy), r.Who)
		}
	}
	_, err := fmt.Fprintf(p.Out, "\n%d ok, %d warnings, %d failed, %d skipped\n",
		counts[doctor.OK], counts[doctor.Warning], counts[doctor.Failed], counts[doctor.Skipped])
	return err
}

// printHosts lists hosts for those who look after a firewall.
func (p *program) printHosts(cloud m365.Cloud, feeds []permission.Feed, o *doctor.Options, all, asJSON, asCSV bool) error {
	clouds, vaults := []m365.Cloud{cloud}, o.Vaults
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
	if !all {
		hosts = append(hosts, doctor.Told(cloud.Name, o.Webhook, o.Mail)...)
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
			w.Write([]string{h.Cloud, h.Host, h.Port, h.Protocol, feedsOf(h), h.Why})
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
	fmt.Fprintln(p.Out, "\nAll by HTTPS, but for a mail server, from this machine to there; nothing has to reach\nthis machine. Revocation lists are not fetched, so port 80 stays shut.")
	for _, l := range limits {
		fmt.Fprintln(p.Out, "cannot work in", l)
	}
	return nil
}

// nothingButWords are values that may be names, and look like what reeve says itself.
var nothingButWords = regexp.MustCompile(`^[\p{L}\p{M} '-]+$`)
