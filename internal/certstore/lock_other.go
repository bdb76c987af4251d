//go:build !windows && (!unix || aix || solaris)

package certstore

import (
	"errors"
	"os"
)

// tryLock cannot lock here.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
