//go:build unix

package certstore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// refuseForeignLinks reports a symbolic link on the way to a folder that neither
// the system nor the user of this process made: it may lead anywhere.
func refuseForeignLinks(folder string) error {
	for at := folder; at != filepath.Dir(at); at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || owner.Uid != 0 && int64(owner.Uid) != int64(os.Geteuid()) {
			return fmt.Errorf("%s is a symbolic link that another user made", at)
		}
	}
	return nil
}
