package certstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// privateFolder is a folder of our own, in which one process at a time writes.
type privateFolder struct {
	path string // absolute
	root *os.Root
}

// openFolder opens a folder, which it makes for its owner alone if it is not there.
// It refuses one that others own or can use in a way that forbidden has the mode's
// bits of.
func openFolder(path string, forbidden fs.FileMode) (*privateFolder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder: name another, or move it away", path)
	}
	made, err := makeFolder(path)
	if err != nil {
		return nil, err
	}
	for _, f := range made {
		above, err := os.Open(filepath.Dir(f))
		if err == nil {
			err = syncOpened(above)
		}
		if err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if info, err = root.Stat("."); err == nil {
		err = refuseShared(path, info, forbidden)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return &privateFolder{path, root}, nil
}

// refuseShared reports that others can do with a file or folder what they may not.
func refuseShared(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	if runtime.GOOS == "windows" {
		return nil // Windows has lists, which its modes say nothing of.
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("others can use %s, whose mode is %04o: chmod %04o %s", path, mode, mode&^forbidden, path)
	}
	return refuseForeignOwner(path, info)
}

// sync sees to it that the names in a folder, "." for the outermost, last.
func (p *privateFolder) sync(name string) error {
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	return syncOpened(f)
}

// syncOpened syncs a folder and closes it. Windows cannot, and some network file
// systems say so; there the name is as durable as the system makes it.
func syncOpened(f *os.File) error {
	defer f.Close()
	if runtime.GOOS == "windows" {
		return nil
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// writeNew writes a file that is not there yet, to the disk. Its mode and group are as
// they are to be before it holds anything.
func (p *privateFolder) writeNew(name string, data []byte, a access) error {
	f, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = a.give(f)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace puts a file into its place, whole or not at all, and makes that last.
func (p *privateFolder) replace(name string, data []byte, a access) error {
	other := newName(name)
	err := p.writeNew(other, data, a)
	if err == nil {
		err = p.root.Rename(other, name)
	}
	if err != nil {
		p.root.Remove(other)
		return err
	}
	return p.sync(filepath.Dir(name))
}

// read reads a file of at most limit bytes that is no link. Its error is
// [fs.ErrNotExist] if there is none.
func (p *privateFolder) read(name string, limit int64) ([]byte, error) {
	before, err := p.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a link, folder or device, and was to be a file: move it away", filepath.Join(p.path, name))
	}
	f, err := p.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes, so it is not what reeve wrote: move it away", filepath.Join(p.path, name), limit)
	}
	return data, err
}

// names lists the folder.
func (p *privateFolder) names(name string) ([]fs.DirEntry, error) {
	f, err := p.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// access says who may read a file besides its owner.
type access struct {
	mode  fs.FileMode
	group int // -1 for the process's own
}

// ownerOnly is the access of what is nobody else's.
var ownerOnly = access{0o600, -1}

// give gives a file or folder that was just made its mode and group.
func (a access) give(f *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if a.group >= 0 {
		if err := f.Chown(-1, a.group); err != nil {
			return fmt.Errorf("giving it to group %d: %w: run reeve as a member of the group", a.group, err)
		}
	}
	return f.Chmod(a.mode)
}

// newName is a name beside another that nobody has.
func newName(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"-"+rand.Text()[:10]+".new")
}

var leftover = regexp.MustCompile(`^\..+-[A-Z2-7]{10}\.new$`)

// isLeftover reports a name of newName, which a process that was killed left.
func isLeftover(name string) bool { return leftover.MatchString(name) }

// lockName is the file that is locked while the folder is written to.
const lockName = ".lock"

// Waiting for another process, which holds the lock for a few writes at a time.
const (
	lockWait = 10 * time.Second
	lockLook = 10 * time.Millisecond
)

// lock takes the folder's lock, which the system gives back when the process ends,
// however it does.
func (p *privateFolder) lock(ctx context.Context) (unlock func(), err error) {
	path := filepath.Join(p.path, lockName)
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("another process has held %s for %v: see whether it hangs", path, lockWait))
	defer cancel()
	if info, err := p.root.Lstat(lockName); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file: remove it", path)
	}
	f, err := p.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		taken, err := tryLock(f)
		switch {
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("locking %s: %w: use a file system with locks, or a key vault", path, err)
		case taken:
			return func() { f.Close() }, nil
		}
		if err := pause(ctx, lockLook); err != nil {
			f.Close()
			return nil, err
		}
	}
}
