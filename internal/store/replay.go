package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Kept is a piece of a feed's records as the source sent them.
type Kept struct {
	Day  int // on which it came
	ID   int64
	Part string
	Blob string
	// Text has the records one after another. It is nil if Err says why it cannot be read.
	Text []byte
	Err  error
}

// KeptDays lists the days on which text came that is kept, from the first to the last
// inclusive; last 0 means all that follow.
func (db *DB) KeptDays(ctx context.Context, tenant, first, last int) ([]int, error) {
	days, err := db.days(ctx, tenant, "contents")
	slices.Reverse(days)
	return slices.DeleteFunc(days, func(d int) bool { return d < first || last > 0 && d > last }), err
}

const (
	keptPieces = 200     // of one page
	keptBytes  = 2 << 20 // beyond which a page ends
)

// Kept gives some of the pieces that came on a day, in the order of their ids: those
// after an id, -1 for the first. None are left when it gives none.
func (db *DB) Kept(ctx context.Context, tenant int, feed string, day int, after int64) ([]Kept, error) {
	// First how much there is, since pieces of small blobs are small.
	last, size, any := after, 0, false
	if err := db.scan(ctx, func(rows *sql.Rows) (more bool, err error) {
		var bytes int
		err = rows.Scan(&last, &bytes)
		size, any = size+bytes, true
		return size < keptBytes, err
	}, `SELECT id, bytes FROM contents WHERE tenant_id = $1 AND day = $2 AND id > $3 AND feed = $4 ORDER BY id LIMIT $5`,
		tenant, day, after, feed, keptPieces); err != nil || !any {
		return nil, err
	}
	var all []Kept
	err := db.scan(ctx, func(rows *sql.Rows) (more bool, err error) {
		k := Kept{Day: day}
		var bytes int
		var data []byte
		if err := rows.Scan(&k.ID, &k.Part, &k.Blob, &bytes, &data); err != nil {
			return false, err
		}
		if k.Text, k.Err = decompress(data); k.Err == nil && len(k.Text) != bytes {
			k.Text, k.Err = nil, fmt.Errorf("it has %d bytes instead of %d", len(k.Text), bytes)
		}
		all = append(all, k)
		return true, nil
	}, `SELECT id, part, blob, bytes, data FROM contents WHERE tenant_id = $1 AND day = $2 AND id > $3 AND id <= $4 AND feed = $5 ORDER BY id`,
		tenant, day, after, last, feed)
	return all, err
}

// scan calls f with each row of a query, for as long as it wants more.
func (db *DB) scan(ctx context.Context, f func(*sql.Rows) (more bool, err error), query string, args ...any) error {
	rows, err := db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return db.explain("reading the text in", err)
	}
	defer rows.Close()
	for rows.Next() {
		if more, err := f(rows); err != nil || !more {
			return db.explain("reading the text in", err)
		}
	}
	return db.explain("reading the text in", rows.Err())
}

// replayed is what a Batch has of a piece that is kept and is decoded again.
type replayed struct {
	lines [][]byte // the records; the first has the number 1
	at    int      // where the last one stands
}

// Rebuild makes a batch for rows of a piece that is kept.
func (db *DB) Rebuild(k Kept) *Batch {
	return &Batch{db: db, names: Names{}, ContentID: k.ID, day: k.Day, again: &replayed{}}
}

// Again counts a record of the piece, and says where in it it stands. The rows that are
// added next are made of it.
func (b *Batch) Again(record []byte, at int) {
	b.Records++
	b.again.lines = append(b.again.lines, record)
	b.again.at = at
}

// Replayed says what became of records whose text was decoded again.
type Replayed struct {
	Records   int64 // all of them
	Unchanged int64 // their rows are as they would be made now
	Changed   int64 // their rows were other ones
	New       int64 // they had no row
	Repeated  int64 // the row of their Id was made of another text: a copy, or a record in conflict with it
	Held      int64 // in conflict, and in quarantine; the record that was stored has no row
	Failed    int64 // they cannot be decoded any more; their rows stay
	Dropped   int64 // they have no row, since retention has dropped their day
}

// Add adds d to r.
func (r *Replayed) Add(d Replayed) {
	r.Records += d.Records
	r.Unchanged += d.Unchanged
	r.Changed += d.Changed
	r.New += d.New
	r.Repeated += d.Repeated
	r.Held += d.Held
	r.Failed += d.Failed
	r.Dropped += d.Dropped
}

// ReplayedDays is what one replay remembers of the sealed days that it changes.
type ReplayedDays struct {
	// Opened had rows as they were sealed: their seals were opened, and they are to be sealed
	// anew.
	Opened []int
	// Broken had other rows already. Their seals stay.
	Broken []int
}

// errUndone ends a transaction of which nothing is to remain.
var errUndone = errors.New("nothing is to remain")

// Replay replaces the rows of the records in the batches, which Rebuild has made, in the
// given tables of one feed, in one transaction. Rows are replaced only where they differ,
// and only by what was made of the very text that they name as theirs. Before rows of a
// sealed day are, the day is compared with its seal, and the seal is opened if it fits. A dry
// one leaves everything as it is, and says what would become of it. The batches are of no
// use after it.
func (db *DB) Replay(ctx context.Context, tenant int, tables []*Table, batches []*Batch, days *ReplayedDays, dry bool) (n Replayed, err error) {
	defer func() {
		for _, b := range batches {
			b.free()
		}
	}()
	for {
		var sealed []int
		err = db.transact(ctx, keeping, func(tx *Tx) error {
			var changed []int
			if n, changed, err = tx.replay(tenant, tables, batches); err != nil {
				return err
			}
			if dry {
				return errUndone
			}
			if sealed, err = tx.stillSealed(tenant, tables, changed, days); err == nil && len(sealed) > 0 {
				err = errUndone
			}
			return err
		})
		if errors.Is(err, errUndone) {
			err = nil
		}
		if err != nil || len(sealed) == 0 {
			return n, err
		}
		for _, day := range sealed {
			if err := db.openSeal(ctx, tenant, tables, day, days); err != nil {
				return n, err
			}
		}
	}
}

// stillSealed gives those of the days, whose rows the transaction has changed, that are
// sealed and have not been looked at. If there are none, nobody seals them before it ends.
func (tx *Tx) stillSealed(tenant int, tables []*Table, changed []int, days *ReplayedDays) (sealed []int, err error) {
	if len(changed) == 0 {
		return nil, nil
	}
	if err := tx.rowsChanged(tenant); err != nil {
		return nil, err
	}
	for _, day := range changed {
		if slices.Contains(days.Broken, day) {
			continue
		}
		closed, err := tx.closedSeals(tenant, day, tables)
		if err != nil {
			return nil, err
		}
		if len(closed) > 0 {
			sealed = append(sealed, day)
		}
	}
	return sealed, nil
}

// openSeal opens the seals of a day of which a replay is about to change rows.
func (db *DB) openSeal(ctx context.Context, tenant int, tables []*Table, day int, days *ReplayedDays) error {
	holds, err := db.sealsHold(ctx, tenant, tables, day)
	if err != nil {
		return err
	}
	if !holds {
		days.Broken = append(days.Broken, day)
		return nil
	}
	if !slices.Contains(days.Opened, day) {
		days.Opened = append(days.Opened, day)
	}
	return db.Write(ctx, func(tx *Tx) error { return tx.openSeals(tenant, day, tables, "replay") })
}

// recordKey tells records of one tenant apart.
type recordKey struct {
	day int
	id  [16]byte
}

// line is a record in one of the batches.
type line struct {
	batch *Batch
	owner int // its number in the batch
	fact  []any
}

// replay gives the days, too, whose rows it has changed.
func (tx *Tx) replay(tenant int, tables []*Table, batches []*Batch) (n Replayed, changed []int, err error) {
	names := Names{}
	for _, b := range batches {
		names.add(b.names)
		n.Records += int64(b.Records)
	}
	if err := tx.MergeNames(tenant, names); err != nil {
		return n, nil, err
	}
	if err := tx.db.engine.byKeys(tx); err != nil {
		return n, nil, err
	}
	facts := tables[slices.IndexFunc(tables, func(t *Table) bool { return t.Facts })]
	var lines []line
	for _, b := range batches {
		for _, r := range b.tables {
			for i := range r.Len() {
				if r.Table == facts {
					lines = append(lines, line{b, r.owner[i], r.Row(i)})
				}
			}
		}
	}
	n.Failed = n.Records - int64(len(lines))
	if len(lines) == 0 {
		return n, nil, nil
	}
	chosen, replace, err := tx.choose(tenant, facts, lines, &n)
	if err != nil {
		return n, nil, err
	}
	// What is made of the chosen ones, by table.
	rows := map[*Table][][]any{facts: nil}
	made := map[*Table]map[recordKey]int{}
	of := map[*Table][]recordKey{}
	for key, l := range chosen {
		rows[facts], of[facts] = append(rows[facts], l.fact), append(of[facts], key)
		for _, r := range l.batch.tables {
			if r.Table == facts {
				continue
			}
			if made[r.Table] == nil {
				made[r.Table] = map[recordKey]int{}
			}
			// Rows are in the order of their records.
			i, _ := slices.BinarySearch(r.owner, l.owner)
			for ; i < r.Len() && r.owner[i] == l.owner; i++ {
				rows[r.Table], of[r.Table] = append(rows[r.Table], r.Row(i)), append(of[r.Table], key)
				made[r.Table][key]++
			}
		}
	}
	stage, err := tx.db.engine.stage(tx, facts, rows[facts])
	if err != nil {
		return n, nil, err
	}
	for _, t := range tables {
		if t != facts {
			if err := tx.differing(t, stage, rows[t], made[t], replace); err != nil {
				return n, nil, fmt.Errorf("comparing with %s: %w", t.Name, err)
			}
		}
	}
	for key := range chosen {
		switch why, ok := replace[key]; {
		case !ok:
			n.Unchanged++
		case why == isNew:
			n.New++
		default:
			n.Changed++
		}
	}
	if facts.Counted {
		if err := tx.recount(facts, stage, replace); err != nil {
			return n, nil, fmt.Errorf("counting the rows of %s: %w", facts.Name, err)
		}
	}
	if n.New > 0 {
		if _, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, '') ON CONFLICT (name) DO NOTHING`, rowsMade(tenant)); err != nil {
			return n, nil, err
		}
	}
	for key := range replace {
		changed = append(changed, key.day)
	}
	slices.Sort(changed)
	return n, slices.Compact(changed), tx.replaceRows(tenant, tables, facts, rows, of, replace)
}

// rowsMade is the name under which it stands that a replay has made rows for records that had
// none: of a record that came in several blobs, not always of the text whose blob is counted
// for it.
func rowsMade(tenant int) string { return fmt.Sprintf("rows made: tenant %d", tenant) }

// Why the rows of a record are replaced.
const (
	isNew     = "new"
	isChanged = "changed"
)

// choose finds for each record the line that its row was made of, or, if it has none, the
// first. Of the other lines it counts what they are.
func (tx *Tx) choose(tenant int, facts *Table, lines []line, n *Replayed) (chosen map[recordKey]line, replace map[recordKey]string, err error) {
	type place struct {
		id int64
		at int
	}
	placeOf := func(fact []any) place { return place{fact[len(fact)-3].(int64), fact[len(fact)-2].(int)} }
	var rows [][]any
	for _, l := range lines {
		rows = append(rows, l.fact)
	}
	stage, err := tx.db.engine.stage(tx, facts, rows)
	if err != nil {
		return nil, nil, err
	}
	states := map[place]string{}
	r, err := tx.query(fmt.Sprintf(`SELECT s.content_id, s.content_at, CASE
			WHEN e.tenant_id IS NULL THEN 'new'
			WHEN e.content_id <> s.content_id OR e.content_at <> s.content_at THEN 'other'
			WHEN %s THEN 'changed' ELSE 'same' END
		FROM %s s LEFT JOIN %s e ON %s`, differ(facts, "e"), stage, facts.Name, sameKey(facts, "e", "s", facts.Key)))
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for r.Next() {
		var p place
		var state string
		if err := r.Scan(&p.id, &p.at, &state); err != nil {
			return nil, nil, err
		}
		states[p] = state
	}
	if err := r.Err(); err != nil {
		return nil, nil, err
	}
	r.Close()
	dropped, err := tx.droppedDays(tenant)
	if err != nil {
		return nil, nil, err
	}
	chosen, replace = map[recordKey]line{}, map[recordKey]string{}
	for _, l := range lines {
		key := recordKey{l.fact[1].(int), [16]byte(l.fact[2].([]byte))}
		switch states[placeOf(l.fact)] {
		case "same":
			chosen[key] = l
		case "changed":
			chosen[key], replace[key] = l, isChanged
		case isNew:
			if dropped[key.day] {
				n.Dropped++
				continue
			}
			held, err := tx.isConflict(tenant, l.batch.again.lines[l.owner-1])
			if err != nil {
				return nil, nil, err
			}
			_, taken := chosen[key]
			switch {
			case held:
				n.Held++
			case taken:
				n.Repeated++
			default:
				chosen[key], replace[key] = l, isNew
			}
		default:
			n.Repeated++
		}
	}
	return chosen, replace, nil
}

// droppedDays gives the days that retention has dropped.
func (tx *Tx) droppedDays(tenant int) (map[int]bool, error) {
	rows, err := tx.query(`SELECT DISTINCT day FROM dropped_days WHERE tenant_id = $1`, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	days := map[int]bool{}
	for rows.Next() {
		var day int
		if err := rows.Scan(&day); err != nil {
			return nil, err
		}
		days[day] = true
	}
	return days, rows.Err()
}

// recount counts rows that are replaced by those of another workload. A record that has no
// row was counted when it was stored.
func (tx *Tx) recount(facts *Table, stage string, replace map[recordKey]string) error {
	rows, err := tx.query(fmt.Sprintf(`SELECT e.tenant_id, e.day, e.id, coalesce(e.workload_id, 0), coalesce(s.workload_id, 0)
		FROM %s s JOIN %s e ON %s WHERE e.workload_id IS DISTINCT FROM s.workload_id`, stage, facts.Name, sameKey(facts, "e", "s", facts.Key)))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key recordKey
		var was, is rowsKey
		if err := rows.Scan(&was.tenant, &key.day, scannedID{&key.id}, &was.workload, &is.workload); err != nil {
			return err
		}
		if replace[key] == isChanged {
			was.table, was.day = facts.Name, key.day
			is.tenant, is.table, is.day = was.tenant, was.table, was.day
			tx.countRow(was, -1)
			tx.countRow(is, 1)
		}
	}
	return rows.Err()
}

// isConflict tells whether a record is in quarantine because another has its Id.
func (tx *Tx) isConflict(tenant int, record []byte) (bool, error) {
	sum := sha256.Sum256(record)
	var n int
	err := tx.queryRow(`SELECT count(*) FROM quarantine WHERE tenant_id = $1 AND digest = $2 AND reason = $3`, tenant, sum[:16], ReasonConflict).Scan(&n)
	return n > 0, err
}

// differing adds to replace the records whose rows in a table are not those that were
// made: one that was made is not there as it is, or there are more of them.
func (tx *Tx) differing(t *Table, facts string, rows [][]any, made map[recordKey]int, replace map[recordKey]string) error {
	stage, err := tx.db.engine.stage(tx, t, rows)
	if err != nil {
		return err
	}
	differs := func(key recordKey) {
		if replace[key] == "" {
			replace[key] = isChanged
		}
	}
	if len(rows) > 0 {
		if err := tx.keys(fmt.Sprintf(`SELECT s.day, s.event_id, 1 FROM %s s LEFT JOIN %s e ON %s WHERE e.tenant_id IS NULL OR %s`,
			stage, t.Name, sameKey(t, "e", "s", t.Key), differ(t, "e")), func(key recordKey, _ int) { differs(key) }); err != nil {
			return err
		}
	}
	return tx.keys(fmt.Sprintf(`SELECT f.day, f.id, count(*) FROM %s f
		JOIN %s e ON e.tenant_id = f.tenant_id AND e.day = f.day AND e.event_id = f.id GROUP BY f.day, f.id`, facts, t.Name), func(key recordKey, there int) {
		if there != made[key] {
			differs(key)
		}
	})
}

// keys calls f with each record that a query gives, and the number that it gives with it.
func (tx *Tx) keys(query string, f func(recordKey, int)) error {
	rows, err := tx.query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key recordKey
		var n int
		if err := rows.Scan(&key.day, scannedID{&key.id}, &n); err != nil {
			return err
		}
		f(key, n)
	}
	return rows.Err()
}

// replaceRows puts rows in the place of those that their records have.
func (tx *Tx) replaceRows(tenant int, tables []*Table, facts *Table, rows map[*Table][][]any, of map[*Table][]recordKey, replace map[recordKey]string) error {
	if len(replace) == 0 {
		return nil
	}
	var keys [][]any
	for key := range replace {
		keys = append(keys, []any{tenant, key.day, key.id[:]})
	}
	// In one order, so that no two transactions wait for each other.
	slices.SortFunc(keys, func(a, b []any) int {
		if a[1] != b[1] {
			return a[1].(int) - b[1].(int)
		}
		return strings.Compare(string(a[2].([]byte)), string(b[2].([]byte)))
	})
	// The facts first, as where records are stored.
	for _, t := range slices.Concat([]*Table{facts}, slices.DeleteFunc(slices.Clone(tables), func(t *Table) bool { return t == facts })) {
		if _, err := tx.each(fmt.Sprintf(`DELETE FROM %s WHERE %s`, t.Name, keyCondition(&Table{Columns: t.Columns, Key: 3})), keys); err != nil {
			return fmt.Errorf("replacing rows of %s: %w", t.Name, err)
		}
		var again [][]any
		for i, row := range rows[t] {
			if replace[of[t][i]] != "" {
				again = append(again, row)
			}
		}
		if _, err := tx.merge(t, again); err != nil {
			return err
		}
	}
	return nil
}

// differ compares the columns after the key, of the staging table s and another one.
func differ(t *Table, other string) string {
	var all []string
	for _, c := range t.Columns[t.Key:] {
		all = append(all, fmt.Sprintf("%s.%s IS DISTINCT FROM s.%s", other, c, c))
	}
	return strings.Join(all, " OR ")
}

// sameKey compares the first columns of two tables.
func sameKey(t *Table, a, b string, columns int) string {
	var all []string
	for _, c := range t.Columns[:columns] {
		all = append(all, fmt.Sprintf("%s.%s = %s.%s", a, c, b, c))
	}
	return strings.Join(all, " AND ")
}

// KeptSize sums up what came on the days from the first to the last inclusive; last 0
// means all that follow.
func (db *DB) KeptSize(ctx context.Context, tenant, first, last int) (pieces, bytes int64, err error) {
	if last == 0 {
		last = 99991231
	}
	var sum sql.NullInt64
	err = db.read.QueryRowContext(ctx, `SELECT count(*), sum(bytes) FROM contents WHERE tenant_id = $1 AND day BETWEEN $2 AND $3`,
		tenant, first, last).Scan(&pieces, &sum)
	return pieces, sum.Int64, db.explain("measuring the text in", err)
}
