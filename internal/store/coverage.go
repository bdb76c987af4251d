package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/coverage"
)

// Coverage reads from the ledger what the coverage of the windows that touch the given
// time is told from, all as of one moment. A zero from is the beginning.
func (l *Ledger) Coverage(ctx context.Context, from, to time.Time) (f coverage.Facts, err error) {
	tx, err := l.db.read.BeginTx(ctx, l.db.engine.snapshot())
	if err != nil {
		return f, l.db.explain("reading the ledger of", err)
	}
	defer tx.Rollback()
	if from.IsZero() {
		from = epoch1970
	}
	each := func(query string, scan func(*sql.Rows) error, args ...any) {
		if err != nil {
			return
		}
		var rows *sql.Rows
		if rows, err = tx.QueryContext(ctx, query, append([]any{l.tenant, l.feed}, args...)...); err != nil {
			return
		}
		defer rows.Close()
		for rows.Next() {
			if err = scan(rows); err != nil {
				return
			}
		}
		err = rows.Err()
	}
	each(`SELECT part, state, checked_at, coalesce(error, ''),
			(SELECT min(forget_at) FROM ledger_blobs b WHERE b.tenant_id = p.tenant_id AND b.feed = p.feed AND b.part = p.part AND b.state = 'due' AND b.state <> 'done'),
			(SELECT min(start_at) FROM ledger_windows w WHERE w.tenant_id = p.tenant_id AND w.feed = p.feed AND w.part = p.part),
			(SELECT end_at FROM ledger_windows w WHERE w.tenant_id = p.tenant_id AND w.feed = p.feed AND w.part = p.part ORDER BY start_at DESC LIMIT 1)
		FROM feed_parts p WHERE tenant_id = $1 AND feed = $2 ORDER BY part`, func(rows *sql.Rows) error {
		var p coverage.Part
		var state string
		if err := rows.Scan(&p.Name, &state, stamped{&p.Checked}, &p.Refused, stamped{&p.FirstDue}, stamped{&p.Began}, stamped{&p.Ended}); err != nil {
			return err
		}
		f.Parts = append(f.Parts, p)
		return nil
	})
	// What nobody asks about a window that is over and whole is not read: it costs most.
	each(`SELECT part, start_at, end_at, state, listings, attempts, blobs, blobs_read, blobs_late, blobs_empty, blobs_partial,
			records, stored, duplicate, out_of_scope, quarantined, coalesce(error, ''),
			CASE WHEN listed_to < end_at OR listed_to IS NULL THEN 0 ELSE 1 END,
			CASE WHEN state = 'settled' AND blobs_read = blobs THEN NULL ELSE due_at END,
			CASE WHEN state = 'settled' AND blobs_read = blobs THEN NULL ELSE forget_at END
		FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 AND start_at < $3 AND end_at > $4 ORDER BY part, start_at`, func(rows *sql.Rows) error {
		var w coverage.Window
		var state string
		var whole int
		if err := rows.Scan(&w.Part, stamped{&w.Start}, stamped{&w.End}, &state, &w.Listings, &w.Attempts, &w.Blobs, &w.Read, &w.Late, &w.Empty, &w.Partial,
			&w.Records, &w.Stored, &w.Duplicate, &w.OutOfScope, &w.Quarantined, &w.Error, &whole, stamped{&w.Due}, stamped{&w.Forget}); err != nil {
			return err
		}
		w.Whole, w.Settled, w.Forgotten = whole == 1, state == WindowSettled, state == WindowLost
		f.Windows = append(f.Windows, w)
		return nil
	}, stamp(to), stamp(from))
	each(`SELECT part, window_at, state, count(*), min(error) FROM ledger_blobs
		WHERE tenant_id = $1 AND feed = $2 AND error IS NOT NULL AND window_at < $3 AND window_at > $4
		GROUP BY part, window_at, state ORDER BY part, window_at`, func(rows *sql.Rows) error {
		var t coverage.Trouble
		var state string
		if err := rows.Scan(&t.Part, stamped{&t.Window}, &state, &t.Blobs, &t.Why); err != nil {
			return err
		}
		t.Lost, t.Partial = state == BlobLost, state == BlobDone
		f.Troubles = append(f.Troubles, t)
		return nil
	}, stamp(to), stamp(from.Add(-24*time.Hour)))
	each(`SELECT part, from_at, to_at FROM ledger_gaps WHERE tenant_id = $1 AND feed = $2 ORDER BY part, from_at`, func(rows *sql.Rows) error {
		var g coverage.Gap
		if err := rows.Scan(&g.Part, stamped{&g.From}, stamped{&g.To}); err != nil {
			return err
		}
		g.First = !g.From.After(epoch1970)
		f.Gaps = append(f.Gaps, g)
		return nil
	})
	each(`SELECT first_at, last_at, blobs, busy_ms FROM ledger_rates WHERE tenant_id = $1 AND feed = $2 ORDER BY first_at`, func(rows *sql.Rows) error {
		var r coverage.Rate
		var ms int64
		if err := rows.Scan(stamped{&r.From}, stamped{&r.To}, &r.Blobs, &ms); err != nil {
			return err
		}
		r.Busy = time.Duration(ms) * time.Millisecond
		f.Rates = append(f.Rates, r)
		return nil
	})
	return f, l.db.explain("reading the ledger of", err)
}

var epoch1970 = time.Unix(0, 0).UTC()

// standingBlobs adds to a part's standing what only its blobs tell.
func (l *Ledger) standingBlobs(ctx context.Context, part string, s *Standing) error {
	for _, state := range []string{BlobDue, BlobLost} {
		var n int
		var oldest time.Time
		if err := l.db.read.QueryRowContext(ctx, `SELECT count(*), min(forget_at) FROM ledger_blobs
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND state = $4 AND state <> 'done'`, l.tenant, l.feed, part, state).Scan(&n, stamped{&oldest}); err != nil {
			return l.db.explain("reading the ledger of", err)
		}
		if n > 0 {
			s.Blobs[state] = n
		}
		if state == BlobDue {
			s.OldestDue = earlier(s.OldestDue, oldest)
		}
	}
	return nil
}

// gap notes, when the collection of a part had to be started, since when that may have
// been lacking.
func (tx *Tx) gap(l *Ledger, part string, started time.Time) error {
	if started.IsZero() {
		return nil
	}
	seen := epoch1970
	err := tx.queryRow(`SELECT checked_at FROM feed_parts WHERE tenant_id = $1 AND feed = $2 AND part = $3`, l.tenant, l.feed, part).Scan(stamped{&seen})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	_, err = tx.exec(`INSERT INTO ledger_gaps (tenant_id, feed, part, from_at, to_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, feed, part, from_at) DO UPDATE SET to_at = excluded.to_at`, l.tenant, l.feed, part, stamp(seen), stamp(started))
	return err
}

// Again makes due whatever of a part lies from one time to another and the source still
// holds: windows, whatever their state, and blobs that were given up. There is a window
// for each interval of the given length after it. It tells how many windows there are.
func (l *Ledger) Again(ctx context.Context, part string, from, to, now time.Time, length, retention time.Duration) (windows int, err error) {
	err = l.db.Write(ctx, func(tx *Tx) error {
		windows = 0
		if oldest := now.Add(-retention); from.Before(oldest) {
			from = oldest
		}
		if to.After(now) {
			to = now
		}
		var first time.Time
		if err := tx.queryRow(`SELECT min(start_at) FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 AND part = $3`,
			l.tenant, l.feed, part).Scan(stamped{&first}); err != nil {
			return err
		}
		// Windows before the first one; those in between and after it are Cover's.
		for start := from.UTC().Truncate(time.Second); !first.IsZero() && start.Before(first) && start.Before(to); {
			end := start.Truncate(length).Add(length)
			if end.After(first) {
				end = first
			}
			if _, err := tx.exec(`INSERT INTO ledger_windows
				(tenant_id, feed, part, start_at, end_at, state, due_at, forget_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (tenant_id, feed, part, start_at) DO NOTHING`,
				l.tenant, l.feed, part, stamp(start), stamp(end), WindowOpen, stamp(now), stamp(start.Add(retention))); err != nil {
				return fmt.Errorf("adding a window to the ledger: %w", err)
			}
			start = end
		}
		// One that is being forgotten stays lost, of which a part is: the rest of it is listed.
		keys, err := tx.windowsOf(l, `part = $3 AND start_at < $4 AND end_at > $5`, part, stamp(to), stamp(from))
		if err != nil {
			return err
		}
		for i := range keys {
			keys[i] = append(keys[i], stamp(now), WindowOpen)
		}
		if _, err := tx.each(`UPDATE ledger_windows SET due_at = $5, attempts = 0,
				state = CASE WHEN forget_at > $5 THEN $6 ELSE state END, error = CASE WHEN forget_at > $5 THEN NULL ELSE error END
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND start_at = $4`, keys); err != nil {
			return err
		}
		windows = len(keys)
		_, err = tx.exec(`UPDATE ledger_blobs SET state = $6, due_at = $7, attempts = 0, error = NULL
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND created_at < $4 AND created_at >= $5 AND state = $8 AND state <> 'done' AND forget_at > $7`,
			l.tenant, l.feed, part, stamp(to), stamp(from), BlobDue, stamp(now), BlobLost)
		return err
	})
	return windows, err
}

// A Difference is something of a day that two places in the database tell differently.
type Difference struct {
	Day  int // 0: of all
	Text string
	Kind BreachKind // of Recount: rows added or deleted
}

// Recount compares, for days from one to another, what the import has counted with what
// is there: rows that no blob of the ledger accounts for, which another program wrote; and
// rows counted and not there, or the other way round. It reads all rows of these days.
func (db *DB) Recount(ctx context.Context, tenant int, counted []*Table, from, to int) (all []Difference, err error) {
	tx, err := db.patiently(ctx)
	if err != nil {
		return nil, db.explain("counting the rows of", err)
	}
	defer tx.Rollback()
	needed, err := db.textNeeded(ctx, tx, tenant)
	if err != nil {
		return nil, db.explain("counting the rows of", err)
	}
	for _, t := range counted {
		if !t.Counted {
			continue
		}
		type count struct {
			day                       int
			there, counted, strangers int64
		}
		strangers, texts := "0", ""
		if t.Facts {
			strangers = `sum(CASE WHEN b.blob IS NULL AND (c.id IS NOT NULL OR f.content_hash IS NULL AND f.day >= ` + strconv.Itoa(needed) + `) THEN 1 ELSE 0 END)`
			texts = ` LEFT JOIN contents c ON c.tenant_id = f.tenant_id AND c.id = f.content_id
				LEFT JOIN ledger_blobs b ON b.tenant_id = c.tenant_id AND b.feed = c.feed AND b.part = c.part AND b.blob = c.blob AND b.state = 'done'`
		}
		query := `SELECT day, sum(there), sum(counted), sum(strangers) FROM (
			SELECT f.day AS day, count(*) AS there, 0 AS counted, ` + strangers + ` AS strangers FROM TABLE_ f` + texts + `
			WHERE f.tenant_id = $1 AND f.day >= $2 AND f.day <= $3 GROUP BY f.day
			UNION ALL SELECT day, 0, sum(records), 0 FROM row_counts
			WHERE tenant_id = $1 AND day >= $2 AND day <= $3 AND table_name = 'TABLE_' GROUP BY day) AS sides GROUP BY day ORDER BY day`
		counts, err := listOn(ctx, db, tx, "counting the rows of", func(rows *sql.Rows, c *count) error {
			return rows.Scan(&c.day, &c.there, &c.counted, &c.strangers)
		}, strings.ReplaceAll(query, "TABLE_", t.Name), tenant, from, to)
		if err != nil {
			return nil, err
		}
		for _, c := range counts {
			if c.strangers > 0 {
				all = append(all, Difference{Kind: AddedRows, Day: c.day, Text: fmt.Sprintf("%d rows of %s are not from a blob of the ledger: another program wrote them, or their text was removed; the import leaves them as they are", c.strangers, t.Name)})
			}
			if c.there != c.counted {
				kind := AddedRows
				if c.there < c.counted {
					kind = DeletedRows
				}
				all = append(all, Difference{Kind: kind, Day: c.day, Text: fmt.Sprintf("%s has %d rows, and the import has stored %d", t.Name, c.there, c.counted)})
			}
		}
	}
	return all, nil
}

// textNeeded gives the day from which on a row has its text, or the hash of that: 0 if no
// text was given up. What happened on a day came on that day at the earliest.
func (db *DB) textNeeded(ctx context.Context, tx *sql.Tx, tenant int) (day int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT CASE WHEN EXISTS (SELECT 1 FROM schema_state WHERE name = '`+textsGivenUp+`')
		THEN (SELECT coalesce(min(day), 99999999) + 1 FROM contents WHERE tenant_id = $1) ELSE 0 END`, tenant).Scan(&day)
	return day, err
}

// RecountLedger compares the sums that the windows keep with what their blobs say; what
// blobs say with the pieces of text and rows that there are; and what all of them say with
// all rows, those of days that were dropped included.
func (l *Ledger) RecountLedger(ctx context.Context, from, to time.Time) (all []Difference, err error) {
	if from.IsZero() {
		from = epoch1970
	}
	tx, err := l.db.patiently(ctx)
	if err != nil {
		return nil, l.db.explain("reading the ledger of", err)
	}
	defer tx.Rollback()
	var stored, there, dropped, hidden, made int64
	if err := tx.QueryRowContext(ctx, `SELECT
		(SELECT CAST(coalesce(sum(stored), 0) AS BIGINT) FROM ledger_blobs WHERE tenant_id = $1 AND feed = $2),
		(SELECT count(*) FROM audit_events WHERE tenant_id = $1),
		(SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM dropped_days WHERE tenant_id = $1 AND feed = $2),
		(SELECT CAST(coalesce(sum(e.n), 0) AS BIGINT) FROM (SELECT content_id, count(*) AS n FROM audit_events WHERE tenant_id = $1 GROUP BY content_id) AS e
			LEFT JOIN contents c ON c.tenant_id = $1 AND c.id = e.content_id WHERE c.id IS NULL),
		(SELECT count(*) FROM schema_state WHERE name = $3)`, l.tenant, l.feed, rowsMade(l.tenant)).
		Scan(&stored, &there, &dropped, &hidden, &made); err != nil {
		return nil, l.db.explain("counting the rows of", err)
	}
	if stored != there+dropped {
		text := fmt.Sprintf("the blobs of the ledger say that %d records are stored, and there are %d", stored, there)
		if dropped > 0 {
			text += fmt.Sprintf("; %d were dropped by retention", dropped)
		}
		all = append(all, Difference{Text: text})
	}
	sums := []string{"blobs", "blobs read", "records", "records stored", "duplicates", "records out of scope", "records in quarantine"}
	windows, err := listOn(ctx, l.db, tx, "reading the ledger of", func(rows *sql.Rows, d *Difference) error {
		var part string
		var start time.Time
		n := make([]int64, 2*len(sums))
		to := []any{&part, stamped{&start}}
		for i := range n {
			to = append(to, &n[i])
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		var differ []string
		for i, what := range sums {
			if n[2*i] != n[2*i+1] {
				differ = append(differ, fmt.Sprintf("%d %s, by its blobs %d", n[2*i], what, n[2*i+1]))
			}
		}
		d.Day, d.Text = Day(start), fmt.Sprintf("%s, %s: the window counts %s", part, start.Format("15:04"), strings.Join(differ, "; "))
		return nil
	}, `SELECT w.part, w.start_at, w.blobs, coalesce(b.n, 0), w.blobs_read, coalesce(b.read, 0), w.records, coalesce(b.records, 0), w.stored, coalesce(b.stored, 0),
			w.duplicate, coalesce(b.duplicate, 0), w.out_of_scope, coalesce(b.out_of_scope, 0), w.quarantined, coalesce(b.quarantined, 0)
		FROM ledger_windows w LEFT JOIN (
			SELECT part, window_at, count(*) AS n, sum(CASE WHEN state = 'done' THEN 1 ELSE 0 END) AS read, CAST(sum(records) AS BIGINT) AS records, CAST(sum(stored) AS BIGINT) AS stored,
				CAST(sum(duplicate) AS BIGINT) AS duplicate, CAST(sum(out_of_scope) AS BIGINT) AS out_of_scope, CAST(sum(quarantined) AS BIGINT) AS quarantined
			FROM ledger_blobs WHERE tenant_id = $1 AND feed = $2 GROUP BY part, window_at) AS b ON b.part = w.part AND b.window_at = w.start_at
		WHERE w.tenant_id = $1 AND w.feed = $2 AND w.start_at < $3 AND w.end_at > $4
			AND (w.blobs <> coalesce(b.n, 0) OR w.blobs_read <> coalesce(b.read, 0) OR w.records <> coalesce(b.records, 0) OR w.stored <> coalesce(b.stored, 0)
				OR w.duplicate <> coalesce(b.duplicate, 0) OR w.out_of_scope <> coalesce(b.out_of_scope, 0) OR w.quarantined <> coalesce(b.quarantined, 0))
		ORDER BY w.start_at, w.part LIMIT 100`, l.tenant, l.feed, stamp(to), stamp(from))
	if err != nil {
		return nil, err
	}
	all = append(all, windows...)
	blobs, err := listOn(ctx, l.db, tx, "reading the ledger of", func(rows *sql.Rows, d *Difference) error {
		var part, blob string
		var start time.Time
		var records, accounted int64
		if err := rows.Scan(&part, &blob, stamped{&start}, &records, &accounted); err != nil {
			return err
		}
		d.Day = Day(start)
		d.Text = fmt.Sprintf("%s, blob %s: %d records were read, and %d are accounted for", part, blob, records, accounted)
		return nil
	}, `SELECT part, blob, created_at, records, stored + duplicate + out_of_scope + quarantined FROM ledger_blobs
		WHERE tenant_id = $1 AND feed = $2 AND state = 'done' AND created_at < $3 AND created_at >= $4
			AND error IS NULL AND records <> stored + duplicate + out_of_scope + quarantined
		ORDER BY created_at LIMIT 100`, l.tenant, l.feed, stamp(to), stamp(from))
	if err != nil {
		return nil, err
	}
	all = append(all, blobs...)
	// Of a blob of which rows were dropped, or have no text any more, there are fewer; of one
	// for which a replay has made rows there may be more. Which blobs these are is not known,
	// but all of them together are right, or told above.
	if made > 0 {
		return all, nil
	}
	forged, err := listOn(ctx, l.db, tx, "counting the rows of", func(rows *sql.Rows, d *Difference) error {
		var part, blob string
		var created time.Time
		var stored, there int64
		if err := rows.Scan(&part, &blob, stamped{&created}, &stored, &there); err != nil {
			return err
		}
		d.Day = Day(created)
		d.Text = fmt.Sprintf("%s, blob %s: the ledger says that %d records of it are stored, and there are %d", part, blob, stored, there)
		return nil
	}, `SELECT b.part, b.blob, b.created_at, b.stored, coalesce(r.n, 0) FROM ledger_blobs b
		LEFT JOIN (SELECT c.part, c.blob, sum(e.n) AS n FROM contents c
			JOIN (SELECT content_id, count(*) AS n FROM audit_events WHERE tenant_id = $1 GROUP BY content_id) AS e ON e.content_id = c.id
			WHERE c.tenant_id = $1 AND c.feed = $2 GROUP BY c.part, c.blob) AS r ON r.part = b.part AND r.blob = b.blob
		WHERE b.tenant_id = $1 AND b.feed = $2 AND b.state = 'done' AND b.created_at < $3 AND b.created_at >= $4
			AND (b.stored < coalesce(r.n, 0) OR b.stored > coalesce(r.n, 0) AND $5 = 0
				AND EXISTS (SELECT 1 FROM contents c WHERE c.tenant_id = $1 AND c.feed = $2 AND c.part = b.part AND c.blob = b.blob))
		ORDER BY b.created_at LIMIT 100`, l.tenant, l.feed, stamp(to), stamp(from), dropped+hidden)
	return append(all, forged...), err
}
