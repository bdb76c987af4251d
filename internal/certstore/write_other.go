//go:build !unix

package certstore

// refuseForeignLinks has nothing to say where making a link is a privilege.
func refuseForeignLinks(string) error { return nil }
