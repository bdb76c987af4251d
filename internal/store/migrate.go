package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to this program's version, each step in a
// transaction of its own. A schema that is newer than the program is refused:
// an older reeve must not write into tables whose meaning it does not know.
func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.write, files)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > target {
		return &Error{Doing: "bringing the schema up to date of",
			Cause:  fmt.Sprintf("its schema has version %d, and this reeve knows versions up to %d", current, target),
			Remedy: "run the newer reeve that made it, or restore the backup from before the upgrade"}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the schema from version %d to %d: %w", current, target, err)
	}
	return nil
}
