package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// States of a ledger row.
const (
	WindowOpen    = "open"    // content may still appear in it
	WindowSettled = "settled" // nothing new for long; still listed now and then
	WindowLost    = "lost"    // forgotten by the source before it was ever listed

	BlobDue  = "due"
	BlobDone = "done"
	BlobLost = "lost" // forgotten by the source before it could be read
)

// A Window is an interval of the source's time that is listed as one.
type Window struct {
	Part       string
	Start, End time.Time // start inclusive, end exclusive
	State      string
	Due        time.Time // when to list it next; zero: never again
	Forget     time.Time // when the source begins to forget what is in it
	Listed     time.Time // last complete listing; zero: never
	ListedTo   time.Time // how far into the window listings have reached
	Listings   int
	Blobs      int
	Attempts   int // failed listings since the last complete one
	Error      string
	Theirs     bool // another worker is at it; set by DueWindows
}

// A Blob is one piece of content that the source holds.
type Blob struct {
	Part, ID, URI   string
	Created, Forget time.Time
	Due             time.Time // when to read it; set when read from the ledger
	Window          time.Time // the start of the window that it is counted in; likewise
	Attempts        int       // failed ones so far
	Theirs          bool      // another worker is at it; set by DueBlobs
}

// A Ledger is the ledger of one feed of one tenant: which intervals of the
// source's time were listed, and which blobs read.
type Ledger struct {
	db     *DB
	tenant int
	feed   string
	holder string // the worker whose ledger this is; empty: nobody's
}

// Ledger gives the ledger of a feed.
func (db *DB) Ledger(tenant int, feed string) *Ledger {
	return &Ledger{db: db, tenant: tenant, feed: feed}
}

// Content names a blob of this ledger.
func (l *Ledger) Content(b Blob) Content {
	return Content{Tenant: l.tenant, Feed: l.feed, Part: b.Part, Blob: b.ID, Created: b.Created, Window: b.Window}
}

// Cover makes sure that there is a window for every interval of the given
// length between from and now, the first one shorter if from is no multiple of
// it. It begins where the windows of the part end, so that a pause of the program
// leaves no hole.
func (l *Ledger) Cover(ctx context.Context, part string, from, now time.Time, length, retention time.Duration) error {
	begin := func(row func(query string, args ...any) *sql.Row) (start time.Time, err error) {
		err = row(`SELECT max(end_at) FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 AND part = $3`, l.tenant, l.feed, part).Scan(stamped{&start})
		if start.IsZero() {
			start = from.UTC().Truncate(time.Second)
		}
		return start, err
	}
	start, err := begin(func(query string, args ...any) *sql.Row { return l.db.read.QueryRowContext(ctx, query, args...) })
	if err != nil || !start.Before(now) {
		return l.db.explain("reading the ledger of", err)
	}
	return l.db.Write(ctx, func(tx *Tx) error {
		start, err := begin(tx.queryRow) // while this waited for its turn another may have done it
		if err != nil {
			return err
		}
		for start.Before(now) {
			end := start.Truncate(length).Add(length)
			if _, err := tx.exec(`INSERT INTO ledger_windows
				(tenant_id, feed, part, start_at, end_at, state, due_at, forget_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (tenant_id, feed, part, start_at) DO NOTHING`,
				l.tenant, l.feed, part, stamp(start), stamp(end), WindowOpen, stamp(start), stamp(start.Add(retention))); err != nil {
				return fmt.Errorf("adding a window to the ledger: %w", err)
			}
			start = end
		}
		return nil
	})
}

// DueWindows gives the windows of the parts that are to be listed by now, those
// forgotten soonest first.
func (l *Ledger) DueWindows(ctx context.Context, parts []string, now time.Time) ([]Window, error) {
	var due []Window
	for _, part := range parts {
		w, err := list(ctx, l.db, "reading the ledger of", func(rows *sql.Rows, w *Window) error {
			return scanWindow(rows, w, &w.Theirs)
		}, `SELECT `+windowColumns+`, CASE WHEN `+others+` THEN true ELSE false END FROM ledger_windows
			WHERE tenant_id = $3 AND feed = $4 AND part = $5 AND due_at <= $6 ORDER BY forget_at`,
			l.holder, stamp(l.db.now()), l.tenant, l.feed, part, stamp(now))
		if err != nil {
			return nil, err
		}
		due = append(due, w...)
	}
	return due, nil
}

const windowColumns = `part, start_at, end_at, state, due_at, forget_at, listed_at, listed_to, listings, blobs, attempts, coalesce(error, '')`

func scanWindow(rows *sql.Rows, w *Window, more ...any) error {
	return rows.Scan(append([]any{&w.Part, stamped{&w.Start}, stamped{&w.End}, &w.State, stamped{&w.Due}, stamped{&w.Forget},
		stamped{&w.Listed}, stamped{&w.ListedTo}, &w.Listings, &w.Blobs, &w.Attempts, &w.Error}, more...)...)
}

// Found records blobs that a listing of adjoining windows of one part has shown,
// and returns how many of them are new. What a listing found is true even if it
// breaks off. It puts the blobs into another order.
func (l *Ledger) Found(ctx context.Context, windows []Window, blobs []Blob) (fresh int, err error) {
	if len(blobs) == 0 {
		return 0, nil
	}
	err = l.db.WriteBeside(ctx, func(tx *Tx) error {
		fresh = 0
		// In one order, so that no two transactions wait for each other.
		slices.SortFunc(blobs, func(a, b Blob) int { return l.Content(a).compare(l.Content(b)) })
		args := make([][]any, len(blobs))
		for i, b := range blobs {
			w := windows[windowOf(windows, b)]
			args[i] = []any{l.tenant, l.feed, b.Part, b.ID, b.URI, stamp(b.Created), stamp(b.Forget), stamp(tx.Now), BlobDue, stamp(w.Start)}
		}
		added, err := tx.each(`INSERT INTO ledger_blobs
			(tenant_id, feed, part, blob, uri, created_at, forget_at, listed_at, state, due_at, window_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $10)
			ON CONFLICT (tenant_id, feed, part, blob) DO NOTHING`, args)
		if err != nil {
			return fmt.Errorf("adding blobs to the ledger: %w", err)
		}
		for i, b := range blobs {
			fresh += int(added[i])
			w := windows[windowOf(windows, b)]
			n := windowSums{blobs: added[i]}
			if !w.ListedTo.Before(w.End) {
				n.late = added[i]
			}
			tx.count(l.tenant, l.feed, w.Part, w.Start, n)
		}
		return nil
	})
	return fresh, err
}

// Listed records how windows stand after they were listed, or the listing of
// which failed, and gives them back. Of a window that another worker has taken
// meanwhile it says nothing.
func (l *Ledger) Listed(ctx context.Context, windows []Window) error {
	return l.db.WriteBeside(ctx, func(tx *Tx) error {
		args := make([][]any, len(windows))
		for i, w := range windows {
			args[i] = []any{l.tenant, l.feed, w.Part, stamp(w.Start), w.State, stamp(w.Due), stamp(w.Listed), stamp(w.ListedTo), w.Listings, w.Attempts, null(w.Error), l.holder}
		}
		if _, err := tx.each(`UPDATE ledger_windows
			SET state = $5, due_at = $6, listed_at = $7, listed_to = $8, listings = $9, attempts = $10, error = $11, holder = NULL
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND start_at = $4 AND coalesce(holder, '') = $12`, args); err != nil {
			return fmt.Errorf("recording a listing in the ledger: %w", err)
		}
		return nil
	})
}

// windowOf gives the index of the window that a blob belongs to: the last one
// that begins before it.
func windowOf(windows []Window, b Blob) int {
	for i := len(windows) - 1; i > 0; i-- {
		if !b.Created.Before(windows[i].Start) {
			return i
		}
	}
	return 0
}

// DueBlobs gives up to limit blobs that are to be read by now,
// those forgotten soonest first.
func (l *Ledger) DueBlobs(ctx context.Context, now time.Time, limit int) ([]Blob, error) {
	return list(ctx, l.db, "reading the ledger of", func(rows *sql.Rows, b *Blob) error {
		return rows.Scan(&b.Part, &b.ID, &b.URI, stamped{&b.Created}, stamped{&b.Forget}, stamped{&b.Due}, &b.Attempts, stamped{&b.Window}, &b.Theirs)
	}, `SELECT part, blob, uri, created_at, forget_at, due_at, attempts, window_at, CASE WHEN `+others+` THEN true ELSE false END FROM ledger_blobs
		WHERE tenant_id = $3 AND feed = $4 AND state = $5 AND state <> 'done' AND due_at <= $6
		ORDER BY forget_at, part, blob LIMIT $7`, l.holder, stamp(l.db.now()), l.tenant, l.feed, BlobDue, stamp(now), limit)
}

// Claim marks blobs as read, before anything of them is stored in the same
// transaction. It is false for those that another process has read meanwhile: of them
// nothing may be stored.
func (tx *Tx) Claim(blobs ...Content) ([]bool, error) {
	// In one order, so that no two transactions wait for each other.
	order := make([]int, len(blobs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return blobs[a].compare(blobs[b]) })
	args := make([][]any, len(blobs))
	for n, i := range order {
		c := blobs[i]
		args[n] = []any{c.Tenant, c.Feed, c.Part, c.Blob, BlobDone, stamp(tx.Now)}
	}
	changed, err := tx.each(`UPDATE ledger_blobs SET state = $5, done_at = $6, error = NULL, holder = NULL
		WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4 AND state <> $5`, args)
	if err != nil {
		return nil, fmt.Errorf("marking blobs in the ledger: %w", err)
	}
	ours := make([]bool, len(blobs))
	for n, i := range order {
		ours[i] = changed[n] == 1
	}
	return ours, nil
}

// Count records what became of the records of blobs that were claimed.
func (tx *Tx) Count(blobs []Content, counts []Counts) error {
	args := make([][]any, len(blobs))
	for i, c := range blobs {
		n := counts[i]
		args[i] = []any{c.Tenant, c.Feed, c.Part, c.Blob, n.Bytes, n.Records, n.Stored, n.Duplicate, n.OutOfScope, n.Quarantined}
		if err := tx.countRead(c, n); err != nil {
			return err
		}
	}
	_, err := tx.each(`UPDATE ledger_blobs
		SET bytes = $5, records = $6, stored = $7, duplicate = $8, out_of_scope = $9, quarantined = $10
		WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4`, args)
	return err
}

// Postpone records a failed attempt to read a blob, and when to try again, and gives
// it back. Of a blob that another worker has taken meanwhile it says nothing; nor does
// Lose.
func (l *Ledger) Postpone(ctx context.Context, b Blob, due time.Time, why string) error {
	return l.set(ctx, b, BlobDue, due, why)
}

// Lose records that the source has forgotten a blob that was never read.
func (l *Ledger) Lose(ctx context.Context, b Blob, why string) error {
	return l.set(ctx, b, BlobLost, b.Forget, why)
}

func (l *Ledger) set(ctx context.Context, b Blob, state string, due time.Time, why string) error {
	return l.db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE ledger_blobs SET state = $5, due_at = $6, attempts = attempts + 1, error = $7, holder = NULL
			WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4 AND state = $8 AND coalesce(holder, '') = $9`,
			l.tenant, l.feed, b.Part, b.ID, state, stamp(due), why, BlobDue, l.holder)
		return err
	})
}

// Part records how a part of the feed stands: its subscription is enabled, or
// refused with a reason. started is when reeve started it; zero if it ran.
func (l *Ledger) Part(ctx context.Context, part, state string, started time.Time, why string) error {
	return l.db.Write(ctx, func(tx *Tx) error {
		if err := tx.gap(l, part, started); err != nil {
			return err
		}
		_, err := tx.exec(`INSERT INTO feed_parts (tenant_id, feed, part, state, started_at, checked_at, error)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant_id, feed, part) DO UPDATE SET state = excluded.state,
				started_at = coalesce(excluded.started_at, feed_parts.started_at),
				checked_at = excluded.checked_at, error = excluded.error`,
			l.tenant, l.feed, part, state, stamp(started), stamp(tx.Now), null(why))
		return err
	})
}

// null gives NULL for no text.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Begin records the beginning of a run of the feed, and End its end. In between the run's
// detail is the name of its worker, by which Runs tells whether it goes on.
func (l *Ledger) Begin(ctx context.Context, started time.Time) error {
	return l.db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO import_runs (tenant_id, feed, started_at, detail) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, feed, started_at) DO NOTHING`, l.tenant, l.feed, stamp(started), null(l.holder))
		return err
	})
}

// End records how the run that began at started ended: complete, partial,
// stopped or failed.
func (l *Ledger) End(ctx context.Context, started, ended time.Time, outcome string, stored int64, detail string) error {
	return l.db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE import_runs SET ended_at = $4, outcome = $5, stored = $6, detail = $7
			WHERE tenant_id = $1 AND feed = $2 AND started_at = $3`,
			l.tenant, l.feed, stamp(started), stamp(ended), outcome, stored, null(detail))
		return err
	})
}

// A Standing is how a feed stands: for each of its parts.
type Standing struct {
	Part         string
	State, Error string // of the subscription
	Windows      map[string]int
	WindowsDue   int // never listed, or their last listing failed
	Blobs        map[string]int
	Counts       Counts
	OldestDue    time.Time // when the source forgets the first blob or window not yet read; zero if there is none
	Newest       time.Time // creation of the newest blob that was read
	Troubles     []string  // the errors of what is due, the most frequent first, a few of them
}

// Standing reads how each part of the feed stands.
func (l *Ledger) Standing(ctx context.Context) ([]Standing, error) {
	byPart := map[string]*Standing{}
	var order []string
	at := func(part string) *Standing {
		if s, ok := byPart[part]; ok {
			return s
		}
		s := &Standing{Part: part, Windows: map[string]int{}, Blobs: map[string]int{}}
		byPart[part] = s
		order = append(order, part)
		return s
	}
	err := l.each(ctx, `SELECT part, state, coalesce(error, '') FROM feed_parts
		WHERE tenant_id = $1 AND feed = $2 ORDER BY part`, func(rows *sql.Rows) error {
		var part, state, why string
		if err := rows.Scan(&part, &state, &why); err != nil {
			return err
		}
		s := at(part)
		s.State, s.Error = state, why
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The windows keep sums of their blobs; only what is due or in trouble is looked at itself.
	err = l.each(ctx, `SELECT part, state, count(*), sum(CASE WHEN due_at IS NOT NULL AND (listed_at IS NULL OR attempts > 0) THEN 1 ELSE 0 END),
		min(CASE WHEN due_at IS NOT NULL AND listed_at IS NULL THEN forget_at END),
		max(newest_at), sum(blobs_read), sum(bytes), sum(records), sum(stored), sum(duplicate), sum(out_of_scope), sum(quarantined)
		FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 GROUP BY part, state ORDER BY part`, func(rows *sql.Rows) error {
		var part, state string
		var n, due, read int
		var c Counts
		var oldest, newest time.Time
		if err := rows.Scan(&part, &state, &n, &due, stamped{&oldest}, stamped{&newest},
			&read, &c.Bytes, &c.Records, &c.Stored, &c.Duplicate, &c.OutOfScope, &c.Quarantined); err != nil {
			return err
		}
		s := at(part)
		s.Windows[state] += n
		s.WindowsDue += due
		if read > 0 {
			s.Blobs[BlobDone] += read
		}
		if newest.After(s.Newest) {
			s.Newest = newest
		}
		s.Counts.Add(c)
		s.OldestDue = earlier(s.OldestDue, oldest)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for part, s := range byPart {
		if err := l.standingBlobs(ctx, part, s); err != nil {
			return nil, err
		}
	}
	err = l.each(ctx, `SELECT part, error, count(*) AS n FROM (
			SELECT part, error FROM ledger_blobs WHERE tenant_id = $1 AND feed = $2 AND state <> 'done' AND error IS NOT NULL
			UNION ALL SELECT part, error FROM ledger_windows WHERE tenant_id = $1 AND feed = $2 AND error IS NOT NULL) AS troubles
		GROUP BY part, error ORDER BY part, n DESC`, func(rows *sql.Rows) error {
		var part, why string
		var n int
		if err := rows.Scan(&part, &why, &n); err != nil {
			return err
		}
		if s := at(part); len(s.Troubles) < 3 {
			s.Troubles = append(s.Troubles, fmt.Sprintf("%d × %s", n, why))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]Standing, len(order))
	for i, part := range order {
		all[i] = *byPart[part]
	}
	return all, nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *Ledger) each(ctx context.Context, query string, f func(*sql.Rows) error) error {
	rows, err := l.db.read.QueryContext(ctx, query, l.tenant, l.feed)
	if err != nil {
		return l.db.explain("reading the ledger of", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
