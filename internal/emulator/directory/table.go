package directory

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// table is the objects of one kind, each with what it was of late.
type table[T any] struct {
	key     func(*T) (id, index string) // index need not be unique
	records map[string]*record[T]       // by id, in lower case
	ids     []string                    // the same, oldest first
	byIndex map[string][]string         // ids, by index in lower case

	full int // so many are held that it is time to look for what was removed

	names  func(*T) []string   // in lower case, by which named finds an object; may be nil
	byName map[string][]string // ids of all that ever had a name
}

// record is one object over time.
type record[T any] struct {
	versions []version[T] // oldest first; never empty
}

// version is an object from a time on; value is nil when there is none.
type version[T any] struct {
	from  time.Time
	value *T
}

// get is called with the mutex held, as are all that follow but present and
// byIndex.
func (t *table[T]) get(id string, v View) *T {
	r := t.records[strings.ToLower(id)]
	if r == nil {
		return nil
	}
	for i := len(r.versions) - 1; i >= 0; i-- {
		if v.latest || !r.versions[i].from.After(v.at) {
			return r.versions[i].value
		}
	}
	return nil
}

// present returns the objects that a view has and that ok accepts.
func present[T any](v View, t *table[T], ok func(*T) bool) []*T {
	defer v.lock()()
	var all []*T
	for _, id := range t.ids {
		if o := t.get(id, v); o != nil && ok(o) {
			all = append(all, o)
		}
	}
	return all
}

// byIndex returns the objects of a view that have an index.
func byIndex[T any](v View, t *table[T], index string) iter.Seq[*T] {
	unlock := v.lock()
	var found []*T
	for _, id := range t.byIndex[strings.ToLower(index)] {
		if o := t.get(id, v); o != nil {
			found = append(found, o)
		}
	}
	unlock()
	return slices.Values(found)
}

func put[T any](u *Update, t *table[T], value *T) {
	id, index := t.key(value)
	id, index = strings.ToLower(id), strings.ToLower(index)
	if t.records == nil {
		t.records, t.byIndex = map[string]*record[T]{}, map[string][]string{}
	}
	if t.records[id] == nil {
		if len(t.ids) >= t.full {
			t.sweep(u.d.now().Add(-u.d.memory))
		}
		t.records[id] = &record[T]{}
		t.ids = append(t.ids, id)
		t.byIndex[index] = append(t.byIndex[index], id)
		u.undo = append(u.undo, func() { t.forget(id, index) })
	}
	t.change(u, id, value)
	t.learn(id, value)
}

// learn adds an object's names to the index. They are not taken out of it again:
// named looks whether an object has the name still.
func (t *table[T]) learn(id string, value *T) {
	if t.names == nil {
		return
	}
	if t.byName == nil {
		t.byName = map[string][]string{}
	}
	for _, name := range t.names(value) {
		if !slices.Contains(t.byName[name], id) {
			t.byName[name] = append(t.byName[name], id)
		}
	}
}

// named returns the first object of a view that has a name, given in lower case,
// and that ok accepts.
func named[T any](v View, t *table[T], name string, ok func(*T) bool) *T {
	defer v.lock()()
	for _, id := range t.byName[name] {
		if o := t.get(id, v); o != nil && ok(o) && slices.Contains(t.names(o), name) {
			return o
		}
	}
	return nil
}

func remove[T any](u *Update, t *table[T], id string) {
	id = strings.ToLower(id)
	if t.records[id] != nil {
		t.change(u, id, nil)
	}
}

// change adds a version, and drops those that nobody can look back at.
func (t *table[T]) change(u *Update, id string, value *T) {
	r, now := t.records[id], u.d.now()
	before := r.versions
	u.undo = append(u.undo, func() { r.versions = before })
	kept := before
	for len(kept) > 1 && !kept[1].from.After(now.Add(-u.d.memory)) {
		kept = kept[1:]
	}
	r.versions = append(kept, version[T]{from: now, value: value})
}

func (t *table[T]) forget(id, index string) {
	delete(t.records, id)
	t.ids = slices.DeleteFunc(t.ids, func(s string) bool { return s == id })
	t.byIndex[index] = slices.DeleteFunc(t.byIndex[index], func(s string) bool { return s == id })
}

// sweep drops the objects that were removed at a time or before.
func (t *table[T]) sweep(at time.Time) {
	const least = 256
	for id, r := range t.records {
		if last := r.versions[len(r.versions)-1]; last.value == nil && !last.from.After(at) {
			delete(t.records, id)
		}
	}
	isGone := func(id string) bool { return t.records[id] == nil }
	t.ids = slices.DeleteFunc(t.ids, isGone)
	for _, index := range []map[string][]string{t.byIndex, t.byName} {
		for name, ids := range index {
			if index[name] = slices.DeleteFunc(ids, isGone); len(index[name]) == 0 {
				delete(index, name)
			}
		}
	}
	t.full = max(least, 2*len(t.ids))
}
