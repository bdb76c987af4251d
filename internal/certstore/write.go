package certstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// NewFile is a file to be written.
type NewFile struct {
	Path string
	Data []byte
}

// WriteFiles writes files that their owner alone can read, in folders that it makes
// for their owner alone where there are none. It writes all of the files, or fails
// and leaves none; each whole or not at all. They are on the disk when it returns. A
// process that is killed meanwhile may leave some of them, and hidden ones beside
// them whose names end in .new or .old.
//
// A file that is there already is replaced only if replace says so; else the error
// names it and is [fs.ErrExist]. A symbolic link in the place of a file is such a
// file: nothing is written through it. Through one in the place of a folder only if
// the system or the user of this process made it.
func WriteFiles(files []NewFile, replace bool) (err error) {
	w := &writing{replace: replace}
	defer func() { w.finish(err == nil) }()
	if err := w.prepare(files); err != nil {
		return err
	}
	return w.place()
}

var errSameName = errors.New("two files would have this name")

// writing is files on their way to their places.
type writing struct {
	replace bool
	made    []string // folders, outer ones first
	files   []*placing
}

// prepare looks at the places, and writes the files under other names.
func (w *writing) prepare(files []NewFile) error {
	seen := map[string]bool{}
	for _, f := range files {
		path, err := filepath.Abs(f.Path)
		if err == nil && seen[path] {
			err = errSameName
		}
		if err == nil {
			seen[path] = true
			err = w.add(f.Path, path)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, inPath(err))
		}
	}
	for i, p := range w.files {
		if err := p.write(files[i].Data); err != nil {
			return fmt.Errorf("writing %s: %w", p.path, inPath(err))
		}
	}
	return nil
}

// add opens the folder of a file, whose whole path is given as well, and looks at
// its place.
func (w *writing) add(name, path string) error {
	made, err := makeFolder(filepath.Dir(path))
	w.made = append(w.made, made...)
	if err != nil {
		return err
	}
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	p := &placing{path: name, folder: folder, name: filepath.Base(path)}
	w.files = append(w.files, p)
	return p.mayWrite(w.replace)
}

// place puts the files in their places.
func (w *writing) place() error {
	for i, p := range w.files {
		if err := p.place(w.replace, w.files[:i]); err != nil {
			return fmt.Errorf("writing %s: %w", p.path, inPath(err))
		}
	}
	return nil
}

// finish removes what is not needed any more; if the writing failed, all of it.
func (w *writing) finish(ok bool) {
	for _, p := range w.files {
		if !ok {
			p.undo()
		}
		p.close()
	}
	for i := len(w.made) - 1; i >= 0; i-- {
		if ok {
			syncFolder(os.Open(filepath.Dir(w.made[i])))
		} else {
			os.Remove(w.made[i]) // which fails, as it should, if somebody put something in
		}
	}
}

// syncFolder sees to it that the names in a folder last. Not every system can, and
// none needs it for what is there to be right.
func syncFolder(f *os.File, err error) {
	if err == nil {
		f.Sync()
		f.Close()
	}
}

// makeFolder makes a folder and those above it, and gives the ones that it made.
func makeFolder(folder string) (made []string, err error) {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		made = append([]string{at}, made...)
	}
	for _, f := range made {
		if err := os.Mkdir(f, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return made, err
		}
	}
	// Looked at when it is there: nobody else can put a link in its place now.
	return made, refuseForeignLinks(folder)
}

// placing is the way of one file to its place.
type placing struct {
	path   string // as the caller knows it
	folder *os.Root
	name   string

	file     string      // the new content, under another name; empty once it is in its place
	info     fs.FileInfo // of that, also in its place
	previous string      // what was in its place, under another name
	placed   bool
}

// mayWrite reports why the file's place cannot be written to.
func (p *placing) mayWrite(replace bool) error {
	info, err := p.folder.Lstat(p.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("there is a folder of this name")
	case info.Mode()&fs.ModeSymlink == 0 && !info.Mode().IsRegular():
		return errors.New("there is a device, pipe or socket of this name")
	case !replace:
		return fs.ErrExist
	}
	return nil
}

// write writes the content to the disk, under another name.
func (p *placing) write(data []byte) error {
	name := p.other("new")
	f, err := p.folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	p.file = name
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		p.info, err = f.Stat()
	}
	return errors.Join(err, f.Close())
}

// place puts the content in its place, which none of the earlier files may have.
func (p *placing) place(replace bool, earlier []*placing) error {
	if !replace {
		// A link, unlike a rename, takes no place that somebody else has taken since.
		err := p.folder.Link(p.file, p.name)
		if p.placed = err == nil; p.placed {
			return nil
		}
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrExist
		}
		// There are no links here.
	}
	if err := p.mayWrite(replace); err != nil {
		return err
	}
	// One place may have several names: by links, or by upper and lower case.
	if there, err := p.folder.Lstat(p.name); err == nil && slices.ContainsFunc(earlier, func(e *placing) bool { return os.SameFile(e.info, there) }) {
		return errSameName
	}
	if err := p.keepPrevious(); err != nil {
		return err
	}
	if err := p.folder.Rename(p.file, p.name); err != nil {
		return err
	}
	p.file, p.placed = "", true
	return nil
}

// keepPrevious keeps what is in the file's place, until all files are in theirs.
func (p *placing) keepPrevious() error {
	if _, err := p.folder.Lstat(p.name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	name := p.other("old")
	// By a link, if the system has any, so that the place is never empty.
	err := p.folder.Link(p.name, name)
	if err != nil {
		err = p.folder.Rename(p.name, name)
	}
	if err == nil {
		p.previous = name
	}
	return err
}

// undo makes the place what it was.
func (p *placing) undo() {
	if p.previous == "" {
		if p.placed {
			p.folder.Remove(p.name)
		}
		return
	}
	if _, err := p.folder.Lstat(p.name); p.placed || err != nil {
		p.folder.Rename(p.previous, p.name)
		p.previous = "" // and stays, should that have failed
	}
}

// close removes the other names, and sees to it that the right ones last.
func (p *placing) close() {
	for _, name := range []string{p.file, p.previous} {
		if name != "" {
			p.folder.Remove(name)
		}
	}
	syncFolder(p.folder.Open("."))
	p.folder.Close()
}

// other is a name beside the file's own that nobody has.
func (p *placing) other(end string) string {
	return "." + p.name + "-" + rand.Text()[:10] + "." + end
}

// inPath takes the names of our own out of an error; the caller says which file it
// was.
func inPath(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
