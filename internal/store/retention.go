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

// OldDays gives the days of a tenant that are older than a time and have rows, as far as
// they can go: on PostgreSQL whole months go, and no part of one.
func (db *DB) OldDays(ctx context.Context, tenant int, older time.Time) ([]OldDay, error) {
	before := db.engine.before(older)
	var all []int
	for _, table := range []string{"audit_events", "ignored_audit_events"} {
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
		o := OldDay{Day: day}
		if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND day = $2`, tenant, day).Scan(&o.Records); err != nil {
			return nil, db.explain("reading", err)
		}
		old = append(old, o)
	}
	return old, nil
}

// Prune deletes the records of a tenant that are older than a time, with all rows made of
// them and their text, and notes in dropped_days that it did. Months that the tenant has
// for itself are dropped as a whole where the engine can; else rows go by the day, a few
// thousand in each transaction. It may be ended or killed anywhere: the next one goes on.
func (db *DB) Prune(ctx context.Context, tenant int, feed string, older time.Time) (records int64, err error) {
	old, err := db.OldDays(ctx, tenant, older)
	if err != nil {
		return 0, err
	}
	for len(old) > 0 {
		n, month := 1, old[0].Day/100
		for n < len(old) && old[n].Day/100 == month {
			n++
		}
		var dropped bool
		var gone []OldDay
		if err := db.WriteBeside(ctx, func(tx *Tx) (err error) {
			if gone, dropped, err = db.engine.dropMonth(tx, tenant, month); err != nil || !dropped {
				return err
			}
			for _, o := range gone {
				if err := tx.dropped(tenant, feed, o); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return records, fmt.Errorf("dropping the month %d: %w", month, err)
		}
		if !dropped {
			gone = nil
			for _, o := range old[:n] {
				if o.Records, err = db.deleteDay(ctx, tenant, feed, o.Day); err != nil {
					return records, fmt.Errorf("deleting the day %d: %w", o.Day, err)
				}
				gone = append(gone, o)
			}
		}
		for _, o := range gone {
			records += o.Records
		}
		old = old[n:]
	}
	return records, db.deleteTexts(ctx, tenant, older)
}

// dropped notes that records of a day were deleted on purpose, and that texts are to follow.
func (tx *Tx) dropped(tenant int, feed string, o OldDay) error {
	if _, err := tx.exec(`INSERT INTO dropped_days (tenant_id, feed, day, records, dropped_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, feed, day) DO UPDATE SET records = dropped_days.records + excluded.records, dropped_at = excluded.dropped_at`,
		tenant, feed, o.Day, o.Records, stamp(tx.Now)); err != nil {
		return err
	}
	_, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, '') ON CONFLICT (name) DO NOTHING`, textsDue(tenant))
	return err
}

// textsDue is the name under which it stands that texts have to be looked through.
func textsDue(tenant int) string { return fmt.Sprintf("texts due: tenant %d", tenant) }

// atOnce is how many rows are deleted in one transaction.
const atOnce = 5000

// deleteDay deletes a day, its records last: as long as one is there, the day is found again.
func (db *DB) deleteDay(ctx context.Context, tenant int, feed string, day int) (records int64, err error) {
	var tables []declaredTable
	for _, t := range declared() {
		if t.facts && t.name != "audit_events" {
			tables = append(tables, t)
		}
	}
	for _, t := range declared() {
		if t.name == "audit_events" {
			tables = append(tables, t)
		}
	}
	for _, t := range tables {
		id := t.key[2] // after tenant and day
		query := fmt.Sprintf(`DELETE FROM %[1]s WHERE tenant_id = $1 AND day = $2 AND %[2]s IN
			(SELECT %[2]s FROM %[1]s WHERE tenant_id = $1 AND day = $2 ORDER BY %[2]s LIMIT $3)`, t.name, id)
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return records, err
			}
			if err := db.WriteBeside(ctx, func(tx *Tx) error {
				n, err := tx.exec(query, tenant, day, atOnce)
				if err != nil {
					return err
				}
				more = n >= atOnce
				if t.name != "audit_events" {
					n = 0
				}
				records += n
				return tx.dropped(tenant, feed, OldDay{day, n})
			}); err != nil {
				return records, err
			}
		}
	}
	return records, nil
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
