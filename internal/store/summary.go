package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A Finding is something that an operator ought to know.
type Finding struct {
	Rule, Subject   string // together they name it
	Message, Remedy string
	Since           time.Time
}

// Find records a finding. One that stands already keeps the time since when.
func (db *DB) Find(ctx context.Context, tenant int, f Finding) error {
	return db.Write(ctx, func(tx *Tx) error { return tx.find(tenant, f) })
}

func (tx *Tx) find(tenant int, f Finding) error {
	_, err := tx.exec(`INSERT INTO findings (tenant_id, rule, subject, message, remedy, since)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, rule, subject) DO UPDATE SET message = excluded.message, remedy = excluded.remedy`,
		tenant, f.Rule, f.Subject, f.Message, f.Remedy, stamp(tx.Now))
	return err
}

// Settle removes a finding: it is no longer so.
func (db *DB) Settle(ctx context.Context, tenant int, rule, subject string) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM findings WHERE tenant_id = $1 AND rule = $2 AND subject = $3`, tenant, rule, subject)
		return err
	})
}

// Findings lists what stands, the oldest first.
func (db *DB) Findings(ctx context.Context, tenant int) ([]Finding, error) {
	return list(ctx, db, "reading the findings of", func(rows *sql.Rows, f *Finding) error {
		return rows.Scan(&f.Rule, &f.Subject, &f.Message, &f.Remedy, stamped{&f.Since})
	}, `SELECT rule, subject, message, remedy, since FROM findings WHERE tenant_id = $1 ORDER BY since, rule, subject`, tenant)
}

// list reads all rows of a query.
func list[T any](ctx context.Context, db *DB, doing string, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	return listOn(ctx, db, db.read, doing, scan, query, args...)
}

// listOn is list on connections, or within a transaction.
func listOn[T any](ctx context.Context, db *DB, on interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, doing string, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, db.explain(doing, err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, fmt.Errorf("%s %s: %w", doing, db.url, err)
		}
		all = append(all, v)
	}
	return all, db.explain(doing, rows.Err())
}

// A Count is a name with a number of rows.
type Count struct {
	Name string
	Rows int64
}

func scanCount(rows *sql.Rows, c *Count) error { return rows.Scan(&c.Name, &c.Rows) }

// CountWorkloads counts the audit events of each workload, the most first, as the
// import has counted them.
func (db *DB) CountWorkloads(ctx context.Context, tenant int) ([]Count, error) {
	return list(ctx, db, "counting the events of", scanCount, `
		SELECT coalesce(w.workload_name, '(none)'), e.n FROM
			(SELECT workload_id, CAST(sum(records) AS BIGINT) AS n FROM row_counts
			WHERE tenant_id = $1 AND table_name = 'audit_events' GROUP BY workload_id HAVING sum(records) > 0) AS e
		LEFT JOIN event_workloads w ON w.id = e.workload_id ORDER BY e.n DESC, 1`, tenant)
}

// CountDays counts the audit events of each day, by the time of the event, as the import
// has counted them. The name is YYYYMMDD.
func (db *DB) CountDays(ctx context.Context, tenant int) ([]Count, error) {
	return list(ctx, db, "counting the events of", scanCount, `
		SELECT CAST(day AS TEXT), CAST(sum(records) AS BIGINT) FROM row_counts
		WHERE tenant_id = $1 AND table_name = 'audit_events' GROUP BY day HAVING sum(records) > 0 ORDER BY day`, tenant)
}

// CountIgnored counts the records that the scope left out, each once.
func (db *DB) CountIgnored(ctx context.Context, tenant int) (int64, error) {
	var n int64
	err := db.read.QueryRowContext(ctx, `SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM row_counts
		WHERE tenant_id = $1 AND table_name = 'ignored_audit_events'`, tenant).Scan(&n)
	return n, db.explain("counting the events of", err)
}

// A ScopeRule is one row of org_urls.
type ScopeRule struct {
	Base  string
	Exact bool
}

// String is the rule as the original engine prints it.
func (r ScopeRule) String() string {
	if r.Exact {
		return r.Base + " (exact match)"
	}
	return r.Base + " (*)"
}

// SetScope writes the configured scope into org_urls, where the original
// engine's users look for it.
func (db *DB) SetScope(ctx context.Context, tenant int, rules []ScopeRule) error {
	return db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`DELETE FROM org_urls WHERE tenant_id = $1`, tenant); err != nil {
			return err
		}
		for _, r := range rules {
			if _, err := tx.exec(`INSERT INTO org_urls (tenant_id, url_base, exact_match) VALUES ($1, $2, $3)
				ON CONFLICT (tenant_id, url_base) DO UPDATE SET exact_match = excluded.exact_match`, tenant, r.Base, r.Exact); err != nil {
				return err
			}
		}
		return nil
	})
}

// A Run is one run of a feed.
type Run struct {
	Started, Ended time.Time // Ended is zero while it goes on, or if it was killed
	Outcome        string    // as End has it; else Running or Silent, or empty if nobody knows
	Stored         int64
	Detail         string
}

// Outcomes of runs that have not said how they ended.
const (
	Running = "running"              // its worker is alive
	Silent  = "ended without a word" // its worker is not: it was killed, or its machine failed
)

// Runs gives the newest runs of the feed, newest first.
func (l *Ledger) Runs(ctx context.Context, limit int) ([]Run, error) {
	return list(ctx, l.db, "reading the runs of", func(rows *sql.Rows, r *Run) error {
		var alive int
		if err := rows.Scan(stamped{&r.Started}, stamped{&r.Ended}, &r.Outcome, &r.Stored, &r.Detail, &alive); err != nil {
			return err
		}
		if r.Ended.IsZero() && r.Detail != "" {
			r.Outcome, r.Detail = Silent, ""
			if alive > 0 {
				r.Outcome = Running
			}
		}
		return nil
	}, `SELECT started_at, ended_at, coalesce(outcome, ''), stored, coalesce(detail, ''),
			(SELECT count(*) FROM workers w WHERE w.tenant_id = r.tenant_id AND w.name = r.detail AND w.until_at > $4)
		FROM import_runs r WHERE tenant_id = $1 AND feed = $2 ORDER BY started_at DESC LIMIT $3`, l.tenant, l.feed, limit, stamp(l.db.now()))
}

// States counts the ledger's rows by state.
func (l *Ledger) States(ctx context.Context) (windows, blobs []Count, err error) {
	windows, err = list(ctx, l.db, "reading the ledger of", scanCount,
		`SELECT state, count(*) FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 GROUP BY state ORDER BY state`, l.tenant, l.feed)
	if err != nil {
		return nil, nil, err
	}
	blobs, err = list(ctx, l.db, "reading the ledger of", scanCount,
		`SELECT state, count(*) FROM ledger_blobs WHERE tenant_id = $1 AND feed = $2 GROUP BY state ORDER BY state`, l.tenant, l.feed)
	return windows, blobs, err
}
