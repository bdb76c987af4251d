package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Worker is a process that imports.
type Worker struct {
	Name    string // of this process alone, and never used again
	Role    string
	Started time.Time
	Seen    time.Time // when it last said that it is alive; set when read
}

// A Pace is how often a source may be asked by all workers together.
type Pace struct {
	PerMinute int       // 0: nobody has said yet
	Changed   time.Time // the last change of PerMinute
	NotBefore time.Time // the source asked to be left alone until then
}

// forgetWorkers is how long a dead worker's row stays for who looks at the table.
const forgetWorkers = time.Hour

// Beat says that a worker is alive for so long from now. It gives the number of those
// that are, with this one, and the pace of a source after adjust has changed it.
func (db *DB) Beat(ctx context.Context, tenant int, w Worker, lease time.Duration, source string, adjust func(p Pace, now time.Time) Pace) (alive int, p Pace, err error) {
	err = db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`INSERT INTO workers (tenant_id, name, role, started_at, seen_at, until_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant_id, name) DO UPDATE SET seen_at = excluded.seen_at, until_at = excluded.until_at`,
			tenant, w.Name, w.Role, stamp(w.Started), stamp(tx.Now), stamp(tx.Now.Add(lease))); err != nil {
			return fmt.Errorf("saying that this worker is alive: %w", err)
		}
		if _, err := tx.exec(`DELETE FROM workers WHERE tenant_id = $1 AND until_at < $2`, tenant, stamp(tx.Now.Add(-forgetWorkers))); err != nil {
			return err
		}
		if err := tx.queryRow(`SELECT count(*) FROM workers WHERE tenant_id = $1 AND until_at > $2`, tenant, stamp(tx.Now)).Scan(&alive); err != nil {
			return err
		}
		p = Pace{}
		err := tx.queryRow(`SELECT per_minute, changed_at, not_before FROM source_paces WHERE tenant_id = $1 AND source = $2`, tenant, source).
			Scan(&p.PerMinute, stamped{&p.Changed}, stamped{&p.NotBefore})
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		before := p
		if p = adjust(p, tx.Now); p == before {
			return nil
		}
		_, err = tx.exec(`INSERT INTO source_paces (tenant_id, source, per_minute, changed_at, not_before) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant_id, source) DO UPDATE SET per_minute = excluded.per_minute, changed_at = excluded.changed_at, not_before = excluded.not_before`,
			tenant, source, p.PerMinute, stamp(p.Changed), stamp(p.NotBefore))
		return err
	})
	return alive, p, err
}

// Dismiss takes a worker's name away: what it still holds is free at once.
func (db *DB) Dismiss(ctx context.Context, tenant int, name string) error {
	return db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM workers WHERE tenant_id = $1 AND name = $2`, tenant, name)
		return err
	})
}

// Workers gives the workers that are alive, the oldest first.
func (db *DB) Workers(ctx context.Context, tenant int) ([]Worker, error) {
	return list(ctx, db, "reading the workers of", func(rows *sql.Rows, w *Worker) error {
		return rows.Scan(&w.Name, &w.Role, stamped{&w.Started}, stamped{&w.Seen})
	}, `SELECT name, role, started_at, seen_at FROM workers WHERE tenant_id = $1 AND until_at > $2 ORDER BY started_at, name`, tenant, stamp(db.now()))
}

// Pace gives the pace of a source; the zero Pace if nobody has asked it yet.
func (db *DB) Pace(ctx context.Context, tenant int, source string) (Pace, error) {
	all, err := list(ctx, db, "reading the pace of", func(rows *sql.Rows, p *Pace) error {
		return rows.Scan(&p.PerMinute, stamped{&p.Changed}, stamped{&p.NotBefore})
	}, `SELECT per_minute, changed_at, not_before FROM source_paces WHERE tenant_id = $1 AND source = $2`, tenant, source)
	if len(all) == 0 {
		return Pace{}, err
	}
	return all[0], err
}

// As gives the ledger to a worker: rows that it takes are held under its name, and what
// it says of a row counts only while it holds it.
func (l *Ledger) As(worker string) *Ledger {
	held := *l
	held.holder = worker
	return &held
}

// others is a condition on a row of the ledger: that it is held by another worker than
// $1, one that is alive at $2.
const others = `(holder <> $1 AND holder IN (SELECT name FROM workers WHERE workers.tenant_id = $3 AND until_at > $2))`

// free is a condition on a row of the ledger: that $1 may take it, at the time $2.
const free = `(holder IS NULL OR holder <> $1 AND holder NOT IN (SELECT name FROM workers WHERE workers.tenant_id = $3 AND until_at > $2))`

// TakeBlobs takes up to limit blobs that are due by now and that nobody holds, those
// forgotten soonest first, but leaves out what skip says. Blobs that somebody stores at
// this moment are not waited for.
func (l *Ledger) TakeBlobs(ctx context.Context, now time.Time, limit int, skip func(Blob) bool) ([]Blob, error) {
	var taken []Blob
	err := l.db.WriteBeside(ctx, func(tx *Tx) error {
		taken = nil
		rows, err := tx.query(`SELECT part, blob, uri, created_at, forget_at, due_at, attempts, window_at FROM ledger_blobs
			WHERE tenant_id = $3 AND feed = $4 AND state = $5 AND state <> 'done' AND due_at <= $6 AND `+free+`
			ORDER BY forget_at, part, blob LIMIT $7`+l.db.engine.skipLocked(),
			l.holder, stamp(tx.Now), l.tenant, l.feed, BlobDue, stamp(now), limit)
		if err != nil {
			return fmt.Errorf("looking for due blobs in the ledger: %w", err)
		}
		defer rows.Close()
		var keys [][]any
		for rows.Next() {
			var b Blob
			if err := rows.Scan(&b.Part, &b.ID, &b.URI, stamped{&b.Created}, stamped{&b.Forget}, stamped{&b.Due}, &b.Attempts, stamped{&b.Window}); err != nil {
				return err
			}
			if !skip(b) {
				taken, keys = append(taken, b), append(keys, []any{l.holder, l.tenant, l.feed, b.Part, b.ID})
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(keys) == 0 {
			return err
		}
		_, err = tx.each(`UPDATE ledger_blobs SET holder = $1 WHERE tenant_id = $2 AND feed = $3 AND part = $4 AND blob = $5`, keys)
		return err
	})
	return taken, err
}

// TakeWindows takes up to limit windows of each part among those that are due by now and
// that nobody holds, those forgotten soonest first, but only what want says.
func (l *Ledger) TakeWindows(ctx context.Context, parts []string, now time.Time, limit int, want func(Window) bool) ([]Window, error) {
	var taken []Window
	err := l.db.WriteBeside(ctx, func(tx *Tx) error {
		taken = nil
		var keys [][]any
		for _, part := range parts {
			n := 0
			rows, err := tx.query(`SELECT `+windowColumns+` FROM ledger_windows
				WHERE tenant_id = $3 AND feed = $4 AND part = $5 AND due_at <= $6 AND `+free+`
				ORDER BY forget_at`+l.db.engine.skipLocked(),
				l.holder, stamp(tx.Now), l.tenant, l.feed, part, stamp(now))
			if err != nil {
				return fmt.Errorf("looking for due windows in the ledger: %w", err)
			}
			defer rows.Close()
			for rows.Next() && n < limit {
				var w Window
				if err := scanWindow(rows, &w); err != nil {
					return err
				}
				if want(w) {
					taken, keys = append(taken, w), append(keys, []any{l.holder, l.tenant, l.feed, w.Part, stamp(w.Start)})
					n++
				}
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
		}
		if len(keys) == 0 {
			return nil
		}
		_, err := tx.each(`UPDATE ledger_windows SET holder = $1 WHERE tenant_id = $2 AND feed = $3 AND part = $4 AND start_at = $5`, keys)
		return err
	})
	return taken, err
}

// Release gives back all that this worker holds.
func (l *Ledger) Release(ctx context.Context) error {
	return l.db.WriteBeside(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`UPDATE ledger_blobs SET holder = NULL WHERE tenant_id = $1 AND feed = $2 AND state = 'due' AND state <> 'done' AND holder = $3`,
			l.tenant, l.feed, l.holder); err != nil {
			return fmt.Errorf("giving back the blobs that are held in the ledger: %w", err)
		}
		held, err := tx.windowsOf(l, `holder = $3`, l.holder)
		if err != nil {
			return err
		}
		for i := range held {
			held[i] = append(held[i], l.holder)
		}
		if _, err := tx.each(`UPDATE ledger_windows SET holder = NULL WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND start_at = $4 AND holder = $5`, held); err != nil {
			return fmt.Errorf("giving back the windows that are held in the ledger: %w", err)
		}
		return nil
	})
}

// Left counts the blobs, listed by a time, that are still to be read: those that other
// workers are at, and the rest.
func (l *Ledger) Left(ctx context.Context, listed time.Time) (theirs, rest int, err error) {
	var all int
	err = l.db.read.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN `+others+` THEN 1 END) FROM ledger_blobs
		WHERE tenant_id = $3 AND feed = $4 AND state = $5 AND state <> 'done' AND listed_at <= $6`,
		l.holder, stamp(l.db.now()), l.tenant, l.feed, BlobDue, stamp(listed)).Scan(&all, &theirs)
	return theirs, all - theirs, l.db.explain("reading the ledger of", err)
}

// HasWork reports whether there is a blob to read that nobody holds and that was listed
// after a time, or that a worker held who is dead.
func (l *Ledger) HasWork(ctx context.Context, now, listed time.Time) (bool, error) {
	var n int
	err := l.db.read.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM ledger_blobs
		WHERE tenant_id = $3 AND feed = $4 AND state = $5 AND state <> 'done' AND due_at <= $6 AND `+free+` AND (listed_at > $7 OR holder IS NOT NULL) LIMIT 1) AS one`,
		l.holder, stamp(l.db.now()), l.tenant, l.feed, BlobDue, stamp(now), stamp(listed)).Scan(&n)
	return n > 0, l.db.explain("reading the ledger of", err)
}
