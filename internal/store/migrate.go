package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationFiles are the migrations by their names.
var migrationFiles = must(fs.Sub(migrations, "migrations"))

func must(files fs.FS, err error) fs.FS {
	if err != nil {
		panic(err) // They are a part of the program.
	}
	return files
}

// migrate brings the schema up to this program's version, each step in a
// transaction of its own. A schema that is newer than the program is refused:
// an older reeve must not write into tables whose meaning it does not know.
func (db *DB) migrate(ctx context.Context) error {
	// Another program's tables are left alone.
	ours, all, err := db.engine.tables(ctx, db.read)
	if err != nil {
		return err
	}
	if ours == 0 && all > 0 {
		return strangers("opening the database")
	}
	on, dialect, err := db.engine.schema(ctx)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, on, db.engine.words(migrationFiles))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	// Another process may do the same at this moment. Each step is a transaction,
	// so that whoever comes second finds it done when it looks again.
	for attempt := 0; ; attempt++ {
		current, target, err := up(ctx, p)
		if err == nil {
			return nil
		}
		if current > target {
			return newer("bringing up to date the schema of", current, target)
		}
		if attempt == 20 {
			return fmt.Errorf("migrating the schema from version %d to %d: %w", current, target, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// errNewer says that the schema is newer than the program.
var errNewer = errors.New("the schema is newer")

func up(ctx context.Context, p *goose.Provider) (current, target int64, err error) {
	if current, target, err = p.GetVersions(ctx); err != nil {
		return 0, 0, fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > target {
		return current, target, errNewer
	}
	_, err = p.Up(ctx)
	return current, target, err
}

func newer(doing string, current, known int64) error {
	return &Error{Doing: doing,
		Cause:  fmt.Sprintf("its schema has version %d, and this reeve knows versions up to %d", current, known),
		Remedy: "run the newer reeve that made it, or restore the backup from before the upgrade"}
}

func strangers(doing string) error {
	return &Error{Doing: doing, Cause: "it holds the tables of another program",
		Remedy: "set database.url to another database; this one is left as it is"}
}
