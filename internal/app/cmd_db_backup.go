package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/store"
)

// copyReport is a backup.
type copyReport struct {
	File   string           `json:"file"`
	Bytes  int64            `json:"bytes"`
	Schema int64            `json:"schema"`
	Rows   int64            `json:"rows"`
	Tables map[string]int64 `json:"tables"`
	// Tenants are those whose records it holds.
	Tenants []string `json:"tenants"`
}

func reportCopy(c store.Copy) copyReport {
	return copyReport{c.File, c.Bytes, c.Schema, c.Rows(), c.Tables, append([]string{}, c.Tenants...)}
}

// tenantsText names whose records a backup holds.
func tenantsText(c store.Copy) string {
	switch len(c.Tenants) {
	case 0:
		return "no tenant"
	case 1:
		return "tenant " + plain(c.Tenants[0])
	}
	return "tenants " + plain(strings.Join(c.Tenants, ", "))
}

func dbBackupCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a whole copy of the database to a file, while reeve runs",
		Long: `backup writes a copy of one moment and reads it back: the copy is opened, looked
through, and its rows are counted. FILE must not be there yet, and has its name only
when all is well; only this user may read it. SQLite: a compact file that can be used
as it is. PostgreSQL: what pg_dump writes in its custom format; pg_dump has to be
installed here and be as new as the server.

Private keys are not in the database: copy credentials.dir and its keyset as well.`,
		Example: `  reeve db backup /backup/reeve-2026-11-22.db`,
		Args:    oneArg("the name of a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return failWith(exitUsage, "%s is there already: give another name, or move that file away", args[0])
			}
			return p.withDatabase(cmd.Context(), func(_ *config.Config, db *store.DB) error {
				c, err := db.Backup(cmd.Context(), args[0])
				if errors.Is(err, store.ErrNoTool) {
					return coded{exitFailure, err}
				}
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.Out, reportCopy(c))
				}
				fmt.Fprintf(p.Out, "%s: %s, schema version %d, %d rows in %s\n", c.File, bytesText(c.Bytes), c.Schema, c.Rows(), counted(len(c.Tables), "table"))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// restoreReport is what became of a backup that was to be restored.
type restoreReport struct {
	Restored bool        `json:"restored"`
	Why      string      `json:"why,omitempty"`        // if it was not
	Backup   *copyReport `json:"backup,omitempty"`     // if it could be read
	Aside    *string     `json:"kept_aside,omitempty"` // empty: nothing was there
}

func dbRestoreCommand(p *program) *cobra.Command {
	var yes, otherTenant, asJSON bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the database, and keep what was there aside",
		Long: `restore looks at the backup first: it must be whole, and its schema one that this reeve
knows. It says what it would do, and does it with --yes. Stop every reeve on the
database before. What is there is kept: beside the file as FILE.before-TIME, or in a
schema of the database of such a name; delete it when you have seen that all is well.
It is done whole or not at all, also when it is killed. A backup that does not hold the
tenant of tenant-id, where that is set, is taken with --other-tenant only.

The next import goes on from the ledger of the backup: what Microsoft still has is
imported again.`,
		Example: `  reeve db restore /backup/reeve-2026-11-22.db
  reeve db restore /backup/reeve-2026-11-22.db --yes`,
		Args: oneArg("the name of a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.load(false)
			if err != nil {
				return err
			}
			var r restoreReport
			refuse := func(err error) error {
				if !asJSON {
					return err
				}
				r.Why = err.Error()
				return errors.Join(printJSON(p.Out, r), err)
			}
			if _, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) {
				return refuse(failWith(exitUsage, "there is no file %s", args[0]))
			}
			backup, err := store.LookAtCopy(cmd.Context(), c.Database.URL, c.Database.Password.Reveal(), args[0])
			if err != nil {
				return refuse(err)
			}
			told := reportCopy(backup)
			r.Backup = &told
			if !asJSON {
				fmt.Fprintf(p.Err, "%s: %s, schema version %d, %d rows in %s, of %s.\nIt takes the place of %s; what is there now is kept aside.\n",
					args[0], bytesText(backup.Bytes), backup.Schema, backup.Rows(), counted(len(backup.Tables), "table"), tenantsText(backup), c.Database.URL)
			}
			holds := slices.ContainsFunc(backup.Tenants, func(id string) bool { return strings.EqualFold(id, c.TenantID) })
			if c.TenantID != "" && !holds && !otherTenant {
				return refuse(failWith(exitUsage, "%w: %s holds %s, and not that of tenant-id, %s: give the right file or tenant-id, or --other-tenant if it is meant",
					errNotConfirmed, args[0], tenantsText(backup), c.TenantID))
			}
			if !yes {
				return refuse(failWith(exitUsage, "%w: give --yes to do it", errNotConfirmed))
			}
			aside, err := store.Restore(cmd.Context(), c.Database.URL, c.Database.Password.Reveal(), args[0], p.now())
			if err != nil {
				return refuse(err)
			}
			if asJSON {
				r.Restored, r.Aside = true, &aside
				return printJSON(p.Out, r)
			}
			fmt.Fprintf(p.Out, "Restored: %s.\n", tenantsText(backup))
			if aside != "" {
				fmt.Fprintf(p.Out, "What was there is now %s.\n", aside)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&otherTenant, "other-tenant", false, "also if the backup does not hold the tenant of tenant-id")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
