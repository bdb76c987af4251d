package directory

import "time"

// Settle makes everything that is there look as if it had been there for ever,
// so that no replica lags behind it, and forgets what was before. It is for the
// end of setting a tenant up.
func (d *Directory) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	settle(&d.applications)
	settle(&d.principals)
	settle(&d.users)
	settle(&d.assignments)
	settle(&d.grants)
	settle(&d.roleAssignments)
	settle(&d.policies)
}

func settle[T any](t *table[T]) {
	for _, r := range t.records {
		r.versions = []version[T]{{from: time.Time{}, value: r.versions[len(r.versions)-1].value}}
	}
}
