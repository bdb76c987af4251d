//go:build unix && !aix && !solaris

package certstore

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file until it is closed, unless another process or open file has
// locked it.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}
