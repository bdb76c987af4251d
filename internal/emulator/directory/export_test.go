package directory

// Remembered returns how many applications and service principals are held,
// those included that were removed.
func (d *Directory) Remembered() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.applications.ids) + len(d.principals.ids)
}

// RememberedNames returns how many names of service principals are held.
func (d *Directory) RememberedNames() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.principals.byName)
}
