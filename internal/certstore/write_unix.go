//go:build unix

package certstore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links on the way to a folder, as systems do.
const maxLinks = 40

// refuseForeignLinks reports a symbolic link on the way to a folder, or to where a
// link on that way leads, that neither the system nor the user of this process made:
// it may lead anywhere.
func refuseForeignLinks(folder string) error {
	links := 0
	at, way := "/", strings.Split(folder, "/")
	for len(way) > 0 {
		name := way[0]
		way = way[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		path := filepath.Join(at, name)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = path
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || owner.Uid != 0 && int64(owner.Uid) != int64(os.Geteuid()) {
			return fmt.Errorf("%s is a symbolic link that another user made", path)
		}
		if links++; links > maxLinks {
			return syscall.ELOOP
		}
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		way = append(strings.Split(to, "/"), way...)
	}
	return nil
}

// refuseForeignOwner reports a file or folder that neither the system nor the user of
// this process owns: its owner can change it at any time.
func refuseForeignOwner(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 && int64(owner.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user: chown it to the user that reeve runs as", path)
	}
	return nil
}

// groupOf is the group that a file or folder belongs to.
func groupOf(info fs.FileInfo) int {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(owner.Gid)
	}
	return -1
}
