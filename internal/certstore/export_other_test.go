//go:build !unix

package certstore

import "io/fs"

// GroupOf has nothing to say where there are no groups.
func GroupOf(fs.FileInfo) int { return -1 }
