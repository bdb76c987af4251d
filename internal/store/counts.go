package store

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Counters are kept in the transactions that change what they count, and written at
// their very end, always in one order: so two transactions wait for each other at most
// for as long as it takes to commit, and never crosswise.

// sums are what a transaction adds to counters.
type sums struct {
	windows map[windowKey]windowSums
	rows    map[rowsKey]int64
	rates   map[rateKey]rate
}

type windowKey struct {
	tenant     int
	feed, part string
	start      time.Time
}

// compare is the order in which a transaction writes windows.
func (k windowKey) compare(o windowKey) int {
	return cmp.Or(cmp.Compare(k.tenant, o.tenant), cmp.Compare(k.feed, o.feed), cmp.Compare(k.part, o.part), k.start.Compare(o.start))
}

// windowsOf gives the keys of windows of a ledger for which a condition holds, in the
// order in which they are to be written: one statement for all would take them as they lie,
// and could meet crosswise another transaction that counts.
func (tx *Tx) windowsOf(l *Ledger, condition string, args ...any) ([][]any, error) {
	rows, err := tx.query(`SELECT part, start_at FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 AND `+condition, append([]any{l.tenant, l.feed}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("looking for windows in the ledger: %w", err)
	}
	defer rows.Close()
	var windows []windowKey
	for rows.Next() {
		k := windowKey{tenant: l.tenant, feed: l.feed}
		if err := rows.Scan(&k.part, stamped{&k.start}); err != nil {
			return nil, err
		}
		windows = append(windows, k)
	}
	slices.SortFunc(windows, windowKey.compare)
	keys := make([][]any, len(windows))
	for i, k := range windows {
		keys[i] = []any{k.tenant, k.feed, k.part, stamp(k.start)}
	}
	return keys, errors.Join(rows.Err(), rows.Close())
}

type windowSums struct {
	Counts
	blobs, read, late, empty, partial int64
	newest                            time.Time
}

type rowsKey struct {
	tenant   int
	table    string
	day      int
	workload int64
}

type rateKey struct {
	tenant int
	feed   string
}

type rate struct {
	blobs int64
	busy  time.Duration
}

// count adds to the counters of the window that starts at a time.
func (tx *Tx) count(tenant int, feed, part string, start time.Time, n windowSums) {
	if tx.sums.windows == nil {
		tx.sums.windows = map[windowKey]windowSums{}
	}
	k := windowKey{tenant, feed, part, start.UTC()}
	s := tx.sums.windows[k]
	s.Add(n.Counts)
	s.blobs += n.blobs
	s.read += n.read
	s.late += n.late
	s.empty += n.empty
	s.partial += n.partial
	if n.newest.After(s.newest) {
		s.newest = n.newest
	}
	tx.sums.windows[k] = s
}

// findWindow sees to it that the window is known that a blob is counted in.
func (tx *Tx) findWindow(c *Content) error {
	if !c.Window.IsZero() {
		return nil
	}
	err := tx.queryRow(`SELECT window_at FROM ledger_blobs WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4`,
		c.Tenant, c.Feed, c.Part, c.Blob).Scan(stamped{&c.Window})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking up the window of a blob: %w", err)
	}
	return nil
}

// countRead counts a blob that was claimed, with what became of its records.
func (tx *Tx) countRead(c Content, n Counts) error {
	if err := tx.findWindow(&c); err != nil {
		return err
	}
	s := windowSums{Counts: n, read: 1, newest: c.Created}
	if n.Records == 0 {
		s.empty = 1
	}
	tx.count(c.Tenant, c.Feed, c.Part, c.Window, s)
	k := rateKey{c.Tenant, c.Feed}
	if tx.sums.rates == nil {
		tx.sums.rates = map[rateKey]rate{}
	}
	r := tx.sums.rates[k]
	r.blobs++
	tx.sums.rates[k] = r
	return nil
}

// Salvaged notes of a blob that was claimed why only a part of it could be read.
func (tx *Tx) Salvaged(c Content, why string) error {
	tx.count(c.Tenant, c.Feed, c.Part, c.Window, windowSums{partial: 1})
	_, err := tx.exec(`UPDATE ledger_blobs SET error = $5 WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4`,
		c.Tenant, c.Feed, c.Part, c.Blob, why)
	return err
}

// Busy notes how long this process has worked to read the blobs that this transaction
// counts: downloading, waiting and storing.
func (tx *Tx) Busy(l *Ledger, d time.Duration) {
	if r, ok := tx.sums.rates[rateKey{l.tenant, l.feed}]; ok && d > 0 {
		r.busy += d
		tx.sums.rates[rateKey{l.tenant, l.feed}] = r
	}
}

// lateAfter is when a day is so long over that a record of it is remarkable. Seals are
// made of days that are over for a day longer at least, so that no transaction is at
// work on one that does not note what it adds (see seal.go).
const lateAfter = 8 * 24 * time.Hour

// countRows counts the rows that were inserted into a table, and notes those of days
// long over.
func (tx *Tx) countRows(t *Table, rows [][]any, inserted []bool) error {
	workload := slices.Index(t.Columns, "workload_id")
	over := Day(tx.Now.Add(-lateAfter))
	var late [][]any
	for i, row := range rows {
		if !inserted[i] {
			continue
		}
		k := rowsKey{tenant: row[0].(int), table: t.Name, day: row[1].(int)}
		if workload >= 0 {
			k.workload, _ = row[workload].(int64)
		}
		tx.countRow(k, 1)
		if k.day < over {
			late = append(late, row[:3])
		}
	}
	_, err := tx.merge(lateEvents, late)
	return err
}

func (tx *Tx) countRow(k rowsKey, n int64) {
	if tx.sums.rows == nil {
		tx.sums.rows = map[rowsKey]int64{}
	}
	tx.sums.rows[k] += n
}

var lateEvents = &Table{Name: "late_events", Key: 3, Columns: []string{"tenant_id", "day", "event_id"}}

// flush writes what the transaction adds to counters.
func (tx *Tx) flush() error {
	var args [][]any
	for _, k := range slices.SortedFunc(maps.Keys(tx.sums.windows), windowKey.compare) {
		n := tx.sums.windows[k]
		if n != (windowSums{}) {
			args = append(args, []any{k.tenant, k.feed, k.part, stamp(k.start), n.blobs, n.read, n.late, n.empty, n.partial,
				n.Bytes, n.Records, n.Stored, n.Duplicate, n.OutOfScope, n.Quarantined, stamp(n.newest)})
		}
	}
	if len(args) > 0 {
		if _, err := tx.each(`UPDATE ledger_windows SET blobs = blobs + $5, blobs_read = blobs_read + $6, blobs_late = blobs_late + $7,
				blobs_empty = blobs_empty + $8, blobs_partial = blobs_partial + $9, bytes = bytes + $10, records = records + $11,
				stored = stored + $12, duplicate = duplicate + $13, out_of_scope = out_of_scope + $14, quarantined = quarantined + $15,
				newest_at = CASE WHEN newest_at IS NULL OR newest_at < $16 THEN $16 ELSE newest_at END
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND start_at = $4`, args); err != nil {
			return fmt.Errorf("counting in the ledger: %w", err)
		}
	}
	days := slices.SortedFunc(maps.Keys(tx.sums.rows), func(a, b rowsKey) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.table, b.table), cmp.Compare(a.day, b.day), cmp.Compare(a.workload, b.workload))
	})
	args = nil
	for _, k := range days {
		args = append(args, []any{k.tenant, k.table, k.day, k.workload, tx.sums.rows[k]})
	}
	if len(args) > 0 {
		if _, err := tx.each(`INSERT INTO row_counts (tenant_id, table_name, day, workload_id, records) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant_id, table_name, day, workload_id) DO UPDATE SET records = row_counts.records + excluded.records`, args); err != nil {
			return fmt.Errorf("counting rows: %w", err)
		}
	}
	return tx.flushRates()
}

// keepRates is how long the rates of reading are kept.
const keepRates = 3 * 24 * time.Hour

func (tx *Tx) flushRates() error {
	for k, r := range tx.sums.rates {
		hour := tx.Now.Truncate(time.Hour)
		first := tx.Now.Add(-r.busy)
		if first.Before(hour) {
			first = hour
		}
		if _, err := tx.exec(`INSERT INTO ledger_rates (tenant_id, feed, hour_at, worker, first_at, last_at, blobs, busy_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, feed, hour_at, worker) DO UPDATE SET
				last_at = excluded.last_at, blobs = ledger_rates.blobs + excluded.blobs, busy_ms = ledger_rates.busy_ms + excluded.busy_ms`,
			k.tenant, k.feed, stamp(hour), tx.db.worker, stamp(first), stamp(tx.Now), r.blobs, r.busy.Milliseconds()); err != nil {
			return fmt.Errorf("noting the rate of reading: %w", err)
		}
		if _, err := tx.exec(`DELETE FROM ledger_rates WHERE tenant_id = $1 AND feed = $2 AND hour_at < $3`,
			k.tenant, k.feed, stamp(hour.Add(-keepRates))); err != nil {
			return err
		}
	}
	return nil
}
