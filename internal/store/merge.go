package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Table declares how rows come into one table.
type Table struct {
	Name    string
	Columns []string // in the order of a row's values
	Key     int      // that many leading columns are the natural key
	// Facts marks the one table of a feed that has a row for each record. Its
	// last columns are content_id, content_at and content_len: where the record
	// stands as the source sent it.
	Facts bool
	// Counted says that its rows are counted by day, and by workload if it has a column
	// workload_id. The key is then tenant, day and id.
	Counted bool

	memory sync.Pool // of rows that were stored, for the next ones: *[]any
}

// Rows are rows for one table, to be merged.
type Rows struct {
	Table  *Table
	values []any
}

// NewRows makes an empty set with room for n rows.
func NewRows(t *Table, n int) *Rows {
	return &Rows{Table: t, values: make([]any, 0, n*len(t.Columns))}
}

// Add adds one row: a value for each column, of a type that database/sql knows.
func (r *Rows) Add(values ...any) {
	if len(values) != len(r.Table.Columns) {
		panic(fmt.Sprintf("store: %d values for the %d columns of %s", len(values), len(r.Table.Columns), r.Table.Name))
	}
	r.values = append(r.values, values...)
}

// Len is the number of rows.
func (r *Rows) Len() int { return len(r.values) / len(r.Table.Columns) }

// Row gives the values of row i; they are the rows' own.
func (r *Rows) Row(i int) []any {
	n := len(r.Table.Columns)
	return r.values[i*n : (i+1)*n]
}

// merge inserts those rows whose keys are not in the table yet and leaves the
// others as they are. Of a table of facts, or one that is counted, it tells which it
// inserted.
func (tx *Tx) merge(t *Table, rows [][]any) (inserted []bool, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	inserted, err = tx.db.engine.merge(tx, t, rows)
	if err != nil {
		return nil, fmt.Errorf("merging into %s: %w", t.Name, err)
	}
	return inserted, nil
}

// A NameTable is a small table of names with their ids: users, operations.
type NameTable struct {
	Name, Column string
	// Fold makes names that differ only in letter case one name.
	Fold bool
}

// ID is the id of a name: the first 63 bits of its SHA-256. It is the same on
// every worker, in every database and in every export, so there is nothing to
// look up and no sequence to share.
func (t *NameTable) ID(name string) int64 {
	sum := sha256.Sum256([]byte(t.fold(name)))
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
}

func (t *NameTable) fold(name string) string {
	if t.Fold {
		return strings.ToLower(name)
	}
	return name
}

// Names are the names that a set of rows refers to.
type Names map[*NameTable]map[string]int64

// add adds other names.
func (n Names) add(other Names) {
	for t, names := range other {
		if n[t] == nil {
			n[t] = map[string]int64{}
		}
		maps.Copy(n[t], names)
	}
}

// known gives the id of a name that the database is known to hold, as a value
// for a column.
func (db *DB) known(t *NameTable, name []byte) (any, bool) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	id, ok := db.names[t.Name][string(name)]
	return id, ok
}

func (db *DB) remember(named map[string]map[string]int64) {
	if len(named) == 0 {
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for table, names := range named {
		// Bounded: a tenant with very many names costs a few inserts more.
		if db.names[table] == nil || len(db.names[table]) > maxKnownNames {
			db.names[table] = map[string]any{}
		}
		for name, id := range names {
			db.names[table][name] = id
		}
	}
}

const maxKnownNames = 200_000

// A name is one that is to be in a table of names.
type name struct {
	id   int64
	text string
}

// MergeNames makes sure that the names are in their tables.
func (tx *Tx) MergeNames(tenant int, names Names) error {
	tables := slices.SortedFunc(maps.Keys(names), func(a, b *NameTable) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range tables {
		var fresh []name
		for text, id := range names[t] {
			if _, ok := tx.named[t.Name][text]; !ok {
				fresh = append(fresh, name{id, text})
			}
		}
		// In one order, so that no two transactions wait for each other; and of texts
		// that are one name always the same comes first.
		slices.SortFunc(fresh, func(a, b name) int { return cmp.Or(cmp.Compare(a.id, b.id), strings.Compare(a.text, b.text)) })
		if err := tx.mergeNames(tenant, t, fresh); err != nil {
			return fmt.Errorf("adding names to %s: %w", t.Name, err)
		}
	}
	return nil
}

func (tx *Tx) mergeNames(tenant int, t *NameTable, names []name) error {
	if len(names) == 0 {
		return nil
	}
	there, err := tx.db.engine.mergeNames(tx, t, names)
	if err != nil {
		return err
	}
	if tx.named[t.Name] == nil {
		tx.named[t.Name] = map[string]int64{}
	}
	for _, n := range names {
		// Seen before this process knew it; or, once in a great many years, two
		// names with one hash. That must not stop the import, nor pass in silence.
		if have, ok := there[n.id]; ok && t.fold(have) != t.fold(n.text) {
			if err := tx.find(tenant, Finding{Rule: "name-collision", Subject: fmt.Sprintf("%s %d", t.Name, n.id),
				Message: fmt.Sprintf("%q and %q have the same id %d in %s, so that rows of the second show the first", have, n.text, n.id, t.Name),
				Remedy:  "look at the text of such a record with 'reeve audit show', which is right"}); err != nil {
				return err
			}
		}
		tx.named[t.Name][n.text] = n.id
	}
	return nil
}
