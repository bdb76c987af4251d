package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An OldDay is a day whose records are to go, or are gone.
type OldDay struct {
	Day     int
	Records int64
}

// OldDays gives the days of a tenant that are older than a time and have rows, or are said
// to have some, as far as they can go: on PostgreSQL whole months go, and no part of one.
func (db *DB) OldDays(ctx context.Context, tenant int, older time.Time) ([]OldDay, error) {
	return db.oldDays(ctx, tenant, 0, db.engine.before(older))
}

// WaitingDays gives those that are older as well and stay for now: they go with their month.
func (db *DB) WaitingDays(ctx context.Context, tenant int, older time.Time) ([]OldDay, error) {
	if db.engine.before(older) == Day(older) {
		return nil, nil
	}
	return db.oldDays(ctx, tenant, db.engine.before(older), Day(older))
}

// oldDays gives the days with rows from one on, and before another.
func (db *DB) oldDays(ctx context.Context, tenant, from, before int) ([]OldDay, error) {
	all, err := list(ctx, db, "reading", func(rows *sql.Rows, day *int) error { return rows.Scan(day) },
		`SELECT DISTINCT day FROM row_counts WHERE tenant_id = $1 AND day < $2 AND records <> 0`, tenant, before)
	if err != nil {
		return nil, err
	}
	for _, table := range countedTables {
		days, err := db.days(ctx, tenant, table)
		if err != nil {
			return nil, err
		}
		all = append(all, days...)
	}
	slices.Sort(all)
	var old []OldDay
	for _, day := range slices.Compact(all) {
		if day >= before {
			break
		}
		if day < from {
			continue
		}
		o := OldDay{Day: day}
		if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND day = $2`, tenant, day).Scan(&o.Records); err != nil {
			return nil, db.explain("reading", err)
		}
		old = append(old, o)
	}
	return old, nil
}

// countedTables are those whose rows stand in row_counts.
var countedTables = []string{"audit_events", "ignored_audit_events"}

// Prune deletes the records of a tenant that are older than a time, with all rows made of
// them and their text. In the transaction that deletes, it is noted in dropped_days, what
// was counted of these rows goes, and their seals are opened. Months that the tenant has
// for itself are dropped as a whole where the engine can; else rows go by the day, a few
// thousand in each transaction. It may be ended or killed anywhere: the next one goes on.
func (db *DB) Prune(ctx context.Context, tenant int, feed string, older time.Time) (records int64, err error) {
	old, err := db.OldDays(ctx, tenant, older)
	if err != nil {
		return 0, err
	}
	for len(old) > 0 {
		n, month := 1, old[0].Day/100
		for n < len(old) && monthOf(old[n].Day/100) == monthOf(month) {
			n++
		}
		var dropped bool
		if err := db.transact(ctx, dropping, func(tx *Tx) (err error) {
			if dropped, err = db.engine.dropMonth(tx, tenant, month); err != nil || !dropped {
				return err
			}
			days, err := tx.countedDays(tenant, month) // by now
			if err != nil {
				return err
			}
			for _, o := range old[:n] {
				days = append(days, o.Day)
			}
			slices.Sort(days)
			for _, day := range slices.Compact(days) {
				if err := tx.dropped(tenant, feed, day, 0); err != nil {
					return err
				}
				if err := tx.uncounted(tenant, feed, day); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return records, fmt.Errorf("dropping the month %d: %w", month, err)
		}
		for _, o := range old[:n] {
			if !dropped {
				if o.Records, err = db.deleteDay(ctx, tenant, feed, o.Day); err != nil {
					return records, fmt.Errorf("deleting the day %d: %w", o.Day, err)
				}
			}
			records += o.Records
		}
		old = old[n:]
	}
	return records, db.deleteTexts(ctx, tenant, older)
}

// countedDays gives the days of a month of which rows are counted.
func (tx *Tx) countedDays(tenant, month int) (days []int, err error) {
	rows, err := tx.query(`SELECT DISTINCT day FROM row_counts WHERE tenant_id = $1 AND records <> 0`, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var day int
		if err := rows.Scan(&day); err != nil {
			return nil, err
		}
		if monthOf(day/100) == monthOf(month) {
			days = append(days, day)
		}
	}
	return days, rows.Err()
}

// retention is why a seal is opened when its rows are too old.
const retention = "retention"

// dropped notes that rows of a day were deleted on purpose, among them so many records, and
// that texts are to follow. From then on the day is not what was sealed.
func (tx *Tx) dropped(tenant int, feed string, day int, records int64) error {
	if _, err := tx.exec(`INSERT INTO dropped_days (tenant_id, feed, day, records, dropped_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, feed, day) DO UPDATE SET records = dropped_days.records + excluded.records, dropped_at = excluded.dropped_at`,
		tenant, feed, day, records, stamp(tx.Now)); err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, '') ON CONFLICT (name) DO NOTHING`, textsDue(tenant)); err != nil {
		return err
	}
	if err := tx.openSeals(tenant, day, nil, retention); err != nil {
		return err
	}
	return tx.rowsChanged(tenant)
}

// uncounted forgets what was counted of a day that has no rows any more. What was counted
// and not there counts as dropped with it: of that day there is nothing left to be found.
func (tx *Tx) uncounted(tenant int, feed string, day int) error {
	for _, query := range []string{
		`UPDATE dropped_days SET records = records + (SELECT coalesce(sum(c.records), 0) FROM row_counts c
			WHERE c.tenant_id = $1 AND c.table_name = 'audit_events' AND c.day = $3) WHERE tenant_id = $1 AND feed = $2 AND day = $3`,
		`DELETE FROM row_counts WHERE tenant_id = $1 AND day = $3 AND $2 <> ''`,
		`DELETE FROM late_events WHERE tenant_id = $1 AND day = $3 AND $2 <> ''`,
	} {
		if _, err := tx.exec(query, tenant, feed, day); err != nil {
			return err
		}
	}
	return nil
}

// textsDue is the name under which it stands that texts have to be looked through.
func textsDue(tenant int) string { return fmt.Sprintf("texts due: tenant %d", tenant) }

// atOnce is how many rows are deleted in one transaction; a test takes fewer.
var atOnce = 5000

// deleteDay deletes a day, its records last: as long as one is there, the day is found again.
func (db *DB) deleteDay(ctx context.Context, tenant int, feed string, day int) (records int64, err error) {
	var events declaredTable
	var others []declaredTable
	for _, t := range declared() {
		switch {
		case t.name == "audit_events":
			events = t
		case t.facts:
			others = append(others, t)
		}
	}
	for more := true; more; {
		for _, t := range others {
			for {
				any := false
				if err := db.read.QueryRowContext(ctx, anyOf(t), tenant, day).Scan(&any); err != nil {
					return records, db.explain("reading", err)
				}
				if !any {
					break
				}
				if err := db.transact(ctx, dropping, func(tx *Tx) error {
					_, err := tx.deleteSome(tenant, feed, t, day)
					return err
				}); err != nil {
					return records, err
				}
			}
		}
		var n int64
		if err := db.transact(ctx, dropping, func(tx *Tx) (err error) {
			for _, t := range others { // of records that came meanwhile
				if err := tx.queryRow(anyOf(t), tenant, day).Scan(&more); err != nil || more {
					return err
				}
			}
			if n, err = tx.deleteSome(tenant, feed, events, day); err != nil {
				return err
			}
			if err := tx.queryRow(anyOf(events), tenant, day).Scan(&more); err != nil || more {
				return err
			}
			return tx.uncounted(tenant, feed, day)
		}); err != nil {
			return records, err
		}
		records += n
	}
	return records, nil
}

// anyOf asks whether a table has rows of a day.
func anyOf(t declaredTable) string {
	return fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM %s WHERE tenant_id = $1 AND day = $2)`, t.name)
}

// deleteSome deletes some rows of a day of a table.
func (tx *Tx) deleteSome(tenant int, feed string, t declaredTable, day int) (records int64, err error) {
	id := t.key[2] // after tenant and day
	some := fmt.Sprintf(`SELECT * FROM %s WHERE tenant_id = $1 AND day = $2 ORDER BY %s LIMIT %d`, t.name, id, atOnce)
	if slices.Contains(countedTables, t.name) {
		workload := "0"
		if t.has("workload_id") {
			workload = "coalesce(workload_id, 0)"
		}
		if _, err := tx.exec(fmt.Sprintf(`UPDATE row_counts SET records = row_counts.records - gone.n
			FROM (SELECT %s AS workload, count(*) AS n FROM (%s) AS old GROUP BY 1) AS gone
			WHERE row_counts.tenant_id = $1 AND row_counts.day = $2 AND row_counts.table_name = '%s' AND row_counts.workload_id = gone.workload`,
			workload, some, t.name), tenant, day); err != nil {
			return 0, err
		}
	}
	n, err := tx.exec(fmt.Sprintf(`DELETE FROM %s WHERE tenant_id = $1 AND day = $2 AND %s IN (SELECT %s FROM (%s) AS old)`, t.name, id, id, some), tenant, day)
	if err != nil {
		return 0, err
	}
	if t.name == "audit_events" {
		records = n
	}
	return n, tx.dropped(tenant, feed, day, records)
}

// deleteTexts deletes the texts of blobs from before a time that no row has its place in
// any more. To find them all rows are read, so it is done only after something was dropped.
func (db *DB) deleteTexts(ctx context.Context, tenant int, older time.Time) error {
	var due int
	if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM schema_state WHERE name = $1`, textsDue(tenant)).Scan(&due); err != nil || due == 0 {
		return db.explain("reading", err)
	}
	tx, err := db.patiently(ctx)
	if err != nil {
		return db.explain("reading", err)
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, `SELECT c.id FROM contents c
		JOIN ledger_blobs b ON b.tenant_id = c.tenant_id AND b.feed = c.feed AND b.part = c.part AND b.blob = c.blob
		LEFT JOIN (SELECT DISTINCT content_id FROM audit_events WHERE tenant_id = $1) AS used ON used.content_id = c.id
		WHERE c.tenant_id = $1 AND b.created_at < $2 AND used.content_id IS NULL`, tenant, stamp(older))
	if err != nil {
		return db.explain("looking for texts in", err)
	}
	defer rows.Close()
	var ids [][]any
	remove := func() error {
		defer func() { ids = ids[:0] }()
		return db.WriteBeside(ctx, func(tx *Tx) error {
			_, err := tx.each(`DELETE FROM contents WHERE tenant_id = $1 AND id = $2`, ids)
			return err
		})
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		if ids = append(ids, []any{tenant, id}); len(ids) == 500 {
			if err := remove(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return db.explain("looking for texts in", err)
	}
	if err := remove(); err != nil {
		return err
	}
	return db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM schema_state WHERE name = $1`, textsDue(tenant))
		return err
	})
}

// patiently begins a transaction that reads from one moment, for as long as it takes.
func (db *DB) patiently(ctx context.Context) (*sql.Tx, error) {
	tx, err := db.read.BeginTx(ctx, db.engine.snapshot())
	if err != nil {
		return nil, err
	}
	if err := db.engine.patience(ctx, tx); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

// DroppedDays gives the days from first to last whose records were deleted on purpose.
func (db *DB) DroppedDays(ctx context.Context, tenant int, feed string, first, last int) ([]OldDay, error) {
	return list(ctx, db, "reading", func(rows *sql.Rows, o *OldDay) error { return rows.Scan(&o.Day, &o.Records) },
		`SELECT day, records FROM dropped_days WHERE tenant_id = $1 AND feed = $2 AND day BETWEEN $3 AND $4 ORDER BY day`, tenant, feed, first, last)
}
