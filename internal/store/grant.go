package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// readable are tables that somebody who reads by SQL needs besides facts, names and views.
var readable = []string{"tenants", "org_urls", "feed_parts", "ledger_windows", "import_runs", "dropped_days"}

// withTexts are those with the records as Microsoft sent them.
var withTexts = []string{"contents", "quarantine"}

// Grant gives a role of the PostgreSQL server the right to read what was imported, and
// nothing about certificates, tokens or notices. What is granted on a partitioned table
// holds for the months to come. It returns the statements, and runs them unless dry.
func (db *DB) Grant(ctx context.Context, role string, texts, dry bool) (statements []string, err error) {
	const doing = "granting rights on"
	if _, ok := db.engine.(*postgresEngine); !ok {
		return nil, &Error{URL: db.url, Doing: doing, Cause: "an SQLite file knows no roles",
			Remedy: "give people the right to read the file and its folder, and have them open it with mode=ro, or give them a copy (reeve db backup)"}
	}
	var schema, database string
	if err := db.read.QueryRowContext(ctx, `SELECT quote_ident(current_schema()), quote_ident(current_database())`).Scan(&schema, &database); err != nil {
		return nil, db.explain(doing, err)
	}
	var tables []string
	for _, t := range declared() {
		if t.facts || t.names() || slices.Contains(readable, t.name) || texts && slices.Contains(withTexts, t.name) {
			tables = append(tables, t.name)
		}
	}
	for _, v := range views() {
		tables = append(tables, v.name)
	}
	to := " TO " + pgx.Identifier{role}.Sanitize()
	statements = []string{"GRANT CONNECT ON DATABASE " + database + to, "GRANT USAGE ON SCHEMA " + schema + to,
		"GRANT SELECT ON " + strings.Join(tables, ", ") + to}
	if dry {
		return statements, nil
	}
	err = db.Write(ctx, func(tx *Tx) error {
		for _, s := range statements {
			if _, err := tx.exec(s); err != nil {
				return err
			}
		}
		return nil
	})
	if refusal := (*pgconn.PgError)(nil); errors.As(err, &refusal) && refusal.Code == "42704" {
		err = &Error{URL: db.url, Doing: doing, Cause: "there is no role " + role, Err: err,
			Remedy: "make it first: CREATE ROLE " + pgx.Identifier{role}.Sanitize() + " LOGIN PASSWORD '…'"}
	}
	return statements, err
}
