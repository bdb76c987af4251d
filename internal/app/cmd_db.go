package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/doctor"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/store"
)

func dbCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "db", GroupID: "main",
		Short: "Look after the database: its schema, size, backups and old records",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dbStatusCommand(p), dbMigrateCommand(p), dbCheckCommand(p), dbSizesCommand(p), dbPlanUpgradeCommand(p),
		dbBackupCommand(p), dbRestoreCommand(p), dbPruneCommand(p), dbGrantCommand(p))
	return cmd
}

// withDatabase opens the configured database as it is, without bringing it up to date.
func (p *program) withDatabase(ctx context.Context, f func(*config.Config, *store.DB) error) error {
	c, err := p.load(false)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, c.Database.URL, store.Options{Now: p.now, MustExist: true, AsIs: true, Password: c.Database.Password.Reveal()})
	if err != nil {
		return err
	}
	defer db.Close()
	return f(c, db)
}

// dbStatusReport is how the database stands.
type dbStatusReport struct {
	Database    string           `json:"database"`
	Engine      string           `json:"engine"`
	Schema      int64            `json:"schema"`
	Known       int64            `json:"known_schema"`
	Pending     []string         `json:"pending"`
	Views       string           `json:"views"`
	Bytes       int64            `json:"bytes"`
	Connections *int             `json:"connections,omitempty"` // of everybody; left out if nobody knows
	Reeves      *int             `json:"connections_of_reeve,omitempty"`
	Oldest      *openTransaction `json:"oldest_transaction,omitempty"`
}

type openTransaction struct {
	Since   time.Time `json:"since"`
	Process int       `json:"process"`
	Program string    `json:"program"`
	State   string    `json:"state"`
}

func dbStatusCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Engine, schema and what is pending, size, connections",
		Example: `  reeve db status
  reeve db status --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withDatabase(cmd.Context(), func(c *config.Config, db *store.DB) error {
				s, err := db.Status(cmd.Context())
				if err != nil {
					return err
				}
				r := dbStatusReport{Database: c.Database.URL, Engine: s.Engine, Schema: s.Schema, Known: s.Known, Pending: []string{},
					Views: s.Views, Bytes: s.Bytes, Connections: s.Connections, Reeves: s.Reeves}
				for _, m := range s.Pending {
					r.Pending = append(r.Pending, m.Name)
				}
				if o := s.Oldest; o != nil {
					r.Oldest = &openTransaction{o.Since, o.Process, o.Program, o.State}
				}
				if asJSON {
					return printJSON(p.Out, r)
				}
				return p.printDatabase(r)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) printDatabase(r dbStatusReport) error {
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "database\t%s\n", plain(r.Database))
	fmt.Fprintf(t, "engine\t%s\n", plain(r.Engine))
	schema := fmt.Sprintf("version %d, up to date", r.Schema)
	if len(r.Pending) > 0 {
		schema = fmt.Sprintf("version %d; pending: %s", r.Schema, strings.Join(r.Pending, ", "))
	}
	fmt.Fprintf(t, "schema\t%s\n", schema)
	views := r.Views
	if views == store.ViewsOld {
		views += ": make them anew with 'reeve db migrate --views'"
	}
	fmt.Fprintf(t, "views\t%s\n", views)
	fmt.Fprintf(t, "size\t%s\n", bytesText(r.Bytes))
	if r.Connections != nil {
		fmt.Fprintf(t, "connections\t%d, of reeve %d\n", *r.Connections, *r.Reeves)
	} else {
		fmt.Fprintf(t, "connections\tnot known: SQLite does not tell\n")
	}
	if o := r.Oldest; o != nil {
		fmt.Fprintf(t, "oldest transaction\tsince %s, process %d, %s, %s\n", o.Since.Format(time.RFC3339), o.Process, plain(o.Program), plain(o.State))
	}
	return t.Flush()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	x, unit := float64(n)/1024, 0
	for x >= 1024 && unit < len(units)-1 {
		x, unit = x/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", x, units[unit])
}

func dbMigrateCommand(p *program) *cobra.Command {
	var dryRun, views, asJSON bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema up to date now, rather than at the next start",
		Long: `migrate does what every start of reeve does: it brings the tables up to this reeve's
version, each step in a transaction of its own, and makes the views anew when their
text has changed. When it is killed the next start finishes it. A database of a newer
reeve is refused.

With --views the views are made anew in any case.`,
		Example: `  reeve db migrate --dry-run
  reeve db migrate
  reeve db migrate --views`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type report struct {
				Applied bool     `json:"applied"`
				Steps   []string `json:"steps"`
				SQL     []string `json:"sql,omitempty"`
				Views   string   `json:"views"`
			}
			r := report{Steps: []string{}}
			var c *config.Config
			if err := p.withDatabase(cmd.Context(), func(configured *config.Config, db *store.DB) error {
				c = configured
				s, err := db.Status(cmd.Context())
				r.Views = s.Views
				for _, m := range s.Pending {
					r.Steps = append(r.Steps, m.Name)
					if dryRun {
						r.SQL = append(r.SQL, fmt.Sprintf("-- %s\n%s\n", m.Name, m.SQL))
					}
				}
				return err
			}); err != nil {
				return err
			}
			if !asJSON {
				for _, name := range r.Steps {
					fmt.Fprintf(p.Err, "pending: %s\n", name)
				}
				if len(r.Steps) == 0 {
					fmt.Fprintln(p.Err, "The schema is up to date.")
				}
				for _, text := range r.SQL {
					fmt.Fprintln(p.Out, text)
				}
			}
			if !dryRun {
				db, err := store.Open(cmd.Context(), c.Database.URL, store.Options{Now: p.now, MustExist: true, Password: c.Database.Password.Reveal()})
				if err != nil {
					return err
				}
				defer db.Close()
				if views {
					if err := db.RemakeViews(cmd.Context()); err != nil {
						return coded{exitDatabase, err}
					}
				}
				s, err := db.Status(cmd.Context())
				if err != nil {
					return err
				}
				r.Applied, r.Views = true, s.Views
				if !asJSON {
					fmt.Fprintf(p.Out, "schema version %d, views %s\n", s.Schema, s.Views)
				}
			}
			if asJSON {
				return printJSON(p.Out, r)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "print the SQL and change nothing")
	f.BoolVar(&views, "views", false, "make the views anew in any case")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func dbCheckCommand(p *program) *cobra.Command {
	var texts, asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "See whether the database is whole, and its tables agree",
		Long: `check reads the whole database, while reeve runs: what the engine has written (SQLite's
integrity_check; on PostgreSQL the indexes, if the extension amcheck is there), the
names, texts and rows that others refer to, what the import has counted, by day and in
the ledger, and the journals of certificates. It says what it did not check. With --texts it also reads the text of
every record. It changes nothing. The exit code is 7 if something is wrong.`,
		Example: `  reeve db check
  reeve db check --texts --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withDatabase(cmd.Context(), func(_ *config.Config, db *store.DB) error {
				if pending, err := db.Pending(cmd.Context()); err != nil {
					return err
				} else if len(pending) > 0 {
					return failWith(exitDatabase, "the schema is older than this reeve: run 'reeve db migrate' first")
				}
				checks, err := db.Check(cmd.Context(), feed.AuditTables(), texts)
				if err != nil {
					return err
				}
				type check struct {
					What   string `json:"what"`
					State  string `json:"state"`
					Found  int64  `json:"found,omitempty"`
					Text   string `json:"text,omitempty"`
					Remedy string `json:"remedy,omitempty"`
				}
				all, wrong := []check{}, 0
				for _, c := range checks {
					all = append(all, check(c))
					if c.State == store.CheckedWrong {
						wrong++
					}
				}
				if asJSON {
					if err := printJSON(p.Out, map[string]any{"ok": wrong == 0, "checks": all}); err != nil {
						return err
					}
				} else {
					for _, c := range all {
						fmt.Fprintf(p.Out, "%-11s  %s\n", c.State, c.What)
						if c.Text != "" {
							fmt.Fprintf(p.Out, "             %s\n", plain(c.Text))
						}
						if c.Remedy != "" {
							fmt.Fprintf(p.Out, "             remedy: %s\n", c.Remedy)
						}
					}
				}
				if wrong > 0 {
					return failWith(exitCheck, "%s of the database went wrong", counted(wrong, "check"))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&texts, "texts", false, "also read the text of every record")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// sizeReport is what a table takes; rows are left out if nobody knows.
type sizeReport struct {
	Table   string `json:"table"`
	Of      string `json:"partition_of,omitempty"`
	Rows    *int64 `json:"rows,omitempty"`
	Bytes   int64  `json:"bytes"`
	Indexes int64  `json:"index_bytes"`
}

type sizesReport struct {
	Tables  []sizeReport `json:"tables"`
	Bytes   int64        `json:"bytes"`
	Days    int          `json:"days_measured"`
	Records int64        `json:"records_per_day,omitempty"`
	PerDay  *int64       `json:"bytes_per_day,omitempty"`
	Free    *int64       `json:"disk_free_bytes,omitempty"`
	FullAt  *time.Time   `json:"disk_full_at,omitempty"`
}

func dbSizesCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sizes",
		Short: "What each table takes, how fast it grows, and when the disk is full",
		Long: `sizes lists tables, and on PostgreSQL their months, the largest first. Rows are
estimates on PostgreSQL, and not known ("-", in JSON left out) of a table that the
server has not looked through yet. The growth is that of the last seven days that are over for
two days or more; at that rate the disk is full when it says. The disk of a server is
not known here. On SQLite it reads the whole file.`,
		Example: `  reeve db sizes
  reeve db sizes --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withDatabase(cmd.Context(), func(c *config.Config, db *store.DB) error {
				s, err := db.Sizes(cmd.Context())
				if err != nil {
					return err
				}
				r := sizesReport{Tables: []sizeReport{}, Bytes: s.Bytes, Days: s.Days, Records: s.Records}
				for _, t := range s.Tables {
					one := sizeReport{Table: t.Table, Of: t.Of, Bytes: t.Bytes, Indexes: t.Indexes}
					if t.Rows >= 0 {
						one.Rows = &t.Rows
					}
					r.Tables = append(r.Tables, one)
				}
				perDay, known := s.PerDay()
				if known {
					r.PerDay = &perDay
				}
				if file := c.Database.File(); file != "" {
					if free, ok := doctor.Free(filepath.Dir(file)); ok {
						n := int64(free)
						r.Free = &n
						if days := float64(n) / float64(max(perDay, 1)); known && perDay > 0 && days < 36500 {
							at := p.now().UTC().Add(time.Duration(days * 24 * float64(time.Hour))).Truncate(time.Hour)
							r.FullAt = &at
						}
					}
				}
				if asJSON {
					return printJSON(p.Out, r)
				}
				return p.printSizes(r)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) printSizes(r sizesReport) error {
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "rows\tbytes\tindexes\t\ttable")
	unknown := false
	for _, s := range r.Tables {
		rows := "-"
		if s.Rows != nil {
			rows = fmt.Sprint(*s.Rows)
		} else {
			unknown = true
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t\t%s\n", rows, bytesText(s.Bytes), bytesText(s.Indexes), s.Table)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if unknown {
		fmt.Fprintln(p.Out, "\n-: how many rows there are is not known: the server has not looked through the table yet, which it does by itself (autovacuum), or by ANALYZE")
	}
	fmt.Fprintf(p.Out, "\nall in all %s\n", bytesText(r.Bytes))
	if r.PerDay == nil {
		fmt.Fprintln(p.Out, "growth: not known, since there are no whole days of the last week")
	} else {
		fmt.Fprintf(p.Out, "growth: about %d records and %s a day, over %s\n", r.Records, bytesText(*r.PerDay), counted(r.Days, "day"))
	}
	switch {
	case r.Free == nil:
		fmt.Fprintln(p.Out, "disk: not known here; it is the server's")
	case r.FullAt != nil:
		fmt.Fprintf(p.Out, "disk: %s free; full about %s at this rate\n", bytesText(*r.Free), r.FullAt.Format(time.DateOnly))
	default:
		fmt.Fprintf(p.Out, "disk: %s free\n", bytesText(*r.Free))
	}
	return nil
}

func dbPlanUpgradeCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan-upgrade",
		Short: "What this reeve's migrations would do to the database, and how long it takes",
		Long: `plan-upgrade is for a new version of reeve that was not started yet: it reads the
database as the older one has left it, changes nothing, and says what its first start
would do, about how long that takes, and what to back up. It may run while the older
one runs.`,
		Example: `  ./new/reeve db plan-upgrade --config /etc/reeve/reeve.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withDatabase(cmd.Context(), func(c *config.Config, db *store.DB) error {
				plan, err := db.PlanUpgrade(cmd.Context())
				if err != nil {
					return err
				}
				type step struct {
					Migration string  `json:"migration"`
					Does      string  `json:"does"`
					Reads     int64   `json:"reads_bytes"`
					Seconds   float64 `json:"seconds_about"`
				}
				steps, seconds := []step{}, 0.0
				for _, s := range plan {
					steps = append(steps, step{s.Migration, s.Does, s.Bytes, s.Takes.Seconds()})
					seconds += s.Takes.Seconds()
				}
				backup := "reeve db backup FILE"
				if c.Database.File() == "" {
					backup += ", or your service's own backup"
				}
				if asJSON {
					return printJSON(p.Out, map[string]any{"steps": steps, "seconds_about": seconds, "backup": backup})
				}
				if len(steps) == 0 {
					fmt.Fprintln(p.Out, "Nothing is to be done: the schema is this reeve's.")
					return nil
				}
				t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "migration\tdoes\treads\ttakes about")
				for i, s := range steps {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Migration, s.Does, bytesText(s.Reads), plan[i].Takes.Round(time.Second))
				}
				if err := t.Flush(); err != nil {
					return err
				}
				fmt.Fprintf(p.Out, "\nall in all about %s, during which reeve does not import; others go on reading\nback up first: %s\n",
					time.Duration(seconds*float64(time.Second)).Round(time.Second), backup)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func dbGrantCommand(p *program) *cobra.Command {
	var dryRun, texts, asJSON bool
	cmd := &cobra.Command{
		Use:   "grant ROLE",
		Short: "Let a role of the PostgreSQL server read what was imported",
		Long: `grant gives a role the right to read records, names and views, those of months to come
included, and nothing about certificates, tokens or notices. The texts of records are
left out unless --texts is given. Make the role first: CREATE ROLE bi LOGIN PASSWORD '…'.

An SQLite file knows no roles: give people the right to read it, and have them open it
with mode=ro.`,
		Example: `  reeve db grant bi --dry-run
  reeve db grant bi`,
		Args: oneArg("the name of a role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withDatabase(cmd.Context(), func(_ *config.Config, db *store.DB) error {
				if pending, err := db.Pending(cmd.Context()); err != nil {
					return err
				} else if len(pending) > 0 {
					return failWith(exitDatabase, "the schema is older than this reeve: run 'reeve db migrate' first")
				}
				statements, err := db.Grant(cmd.Context(), args[0], texts, dryRun)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.Out, map[string]any{"role": args[0], "granted": !dryRun, "sql": statements})
				}
				for _, s := range statements {
					fmt.Fprintln(p.Out, s+";")
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "print the SQL and change nothing")
	f.BoolVar(&texts, "texts", false, "the texts of records and the quarantine, too")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// oneArg wants one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("%s takes %s, and got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

var errNotConfirmed = errors.New("nothing was changed")
