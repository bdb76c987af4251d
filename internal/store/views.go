package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

//go:embed views.sql
var viewsText string

// A view is one of views.sql.
type view struct{ name, create string }

// views gives the views, in the order in which they are made.
func views() []view {
	var all []view
	for _, statement := range strings.Split(viewsText, ";\n") {
		_, create, ok := strings.Cut(statement, "CREATE VIEW ")
		if name, _, found := strings.Cut(create, " AS"); ok && found {
			all = append(all, view{name, "CREATE VIEW " + create})
		}
	}
	return all
}

func viewsDigest() string {
	sum := sha256.Sum256([]byte(viewsText))
	return hex.EncodeToString(sum[:])
}

// How the views of a database stand.
const (
	ViewsCurrent = "current"
	ViewsOld     = "old"
	ViewsNone    = "none"
)

// viewsAre tells whether the views are those of this program.
func (db *DB) viewsAre(ctx context.Context, on interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (string, error) {
	var digest string
	err := on.QueryRowContext(ctx, `SELECT value FROM schema_state WHERE name = 'views'`).Scan(&digest)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ViewsNone, nil
	case err != nil: // a schema from before there were any
		if pending, err := db.Pending(ctx); err != nil || len(pending) > 0 {
			return ViewsNone, err
		}
		return "", err
	case digest != viewsDigest():
		return ViewsOld, nil
	}
	for _, v := range views() {
		// One that was dropped, or whose table was, cannot be read.
		rows, err := db.read.QueryContext(ctx, "SELECT 1 FROM "+v.name+" WHERE 1 = 0")
		if err != nil {
			return ViewsOld, ctx.Err()
		}
		rows.Close()
	}
	return ViewsCurrent, nil
}

// currentViews makes the views anew when their text has changed or one is gone. That
// somebody's own view is made of one of them is no reason not to start: then they stay.
func (db *DB) currentViews(ctx context.Context) error {
	are, err := db.viewsAre(ctx, db.read)
	if err != nil || are == ViewsCurrent {
		return err
	}
	err = db.RemakeViews(ctx)
	if in := (*DependsError)(nil); errors.As(err, &in) {
		return nil // 'reeve db status' says that they are old
	}
	return err
}

// DependsError says that somebody's own view or function is made of one of reeve's.
type DependsError struct {
	View   string
	Detail string // what the database says
}

func (e *DependsError) Error() string {
	return fmt.Sprintf("the view %s cannot be made anew, since something else is made of it: %s", e.View, e.Detail)
}

// Hint is the remedy.
func (e *DependsError) Hint() string {
	return "drop what is named there, run 'reeve db migrate --views', and make it again"
}

// RemakeViews makes all views anew.
func (db *DB) RemakeViews(ctx context.Context) error {
	return db.Write(ctx, func(tx *Tx) error {
		for _, v := range views() {
			if err := db.engine.replaceView(tx, v.name, v.create); err != nil {
				return fmt.Errorf("making the view %s: %w", v.name, err)
			}
		}
		_, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ('views', $1)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, viewsDigest())
		return err
	})
}
