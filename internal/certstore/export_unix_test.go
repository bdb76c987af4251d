//go:build unix

package certstore

import (
	"io/fs"
	"syscall"
)

// GroupOf is the group of a file.
func GroupOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }
