//go:build !unix

package certstore

import "io/fs"

// refuseForeignLinks has nothing to say where making a link is a privilege.
func refuseForeignLinks(string) error { return nil }

// refuseForeignOwner has nothing to say where owners are no numbers.
func refuseForeignOwner(string, fs.FileInfo) error { return nil }

// groupOf has nothing to say where groups are no numbers.
func groupOf(fs.FileInfo) int { return -1 }
