package doctor

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Part is one file of a support bundle. Its content becomes JSON, of which every text is
// scrubbed.
type Part struct {
	Name  string // "checks.json"
	About string // what it says, a sentence
	Of    any
}

// readMe is the first file of each bundle.
const readMe = "README.txt"

// there is the error of a file that is there already.
type there string

func (path there) Error() string        { return string(path) + " is there already" }
func (path there) Is(target error) bool { return target == fs.ErrExist }

// WriteBundle writes the parts, scrubbed, to a new file that only its owner can read. It
// is there whole or not at all; one that is there already is left alone, and the error is
// [fs.ErrExist].
func WriteBundle(path string, now time.Time, s *Scrubber, parts []Part) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("writing the bundle: %w; choose another name, or remove it", there(path))
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".reeve-bundle-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("writing the bundle: %w; choose a folder that can be written", err)
	}
	defer os.Remove(f.Name())
	err = writeZip(f, now, s, parts)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	// A link, unlike a rename, replaces nothing.
	if err := os.Link(f.Name(), path); err != nil {
		if _, missing := os.Lstat(path); missing == nil {
			return fmt.Errorf("writing the bundle: %w; choose another name, or remove it", there(path))
		}
		if err := os.Rename(f.Name(), path); err != nil { // a file system without links
			return fmt.Errorf("writing the bundle: %w", err)
		}
	}
	return nil
}

func writeZip(w io.Writer, now time.Time, s *Scrubber, parts []Part) error {
	z := zip.NewWriter(w)
	add := func(name string, content []byte) error {
		// The day is enough, and UTC says nothing of where it was.
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: now.UTC().Truncate(24 * time.Hour)})
		if err == nil {
			_, err = f.Write(content)
		}
		return err
	}
	if err := add(readMe, []byte(about(now, parts))); err != nil {
		return err
	}
	for _, p := range parts {
		text, err := s.JSON(p.Of)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := add(p.Name, text); err != nil {
			return err
		}
	}
	return z.Close()
}

// BundleFiles lists the files of a bundle with what each says.
func BundleFiles(parts []Part) (names, abouts []string) {
	names, abouts = []string{readMe}, []string{"What this is, and what was left out."}
	for _, p := range parts {
		names, abouts = append(names, p.Name), append(abouts, p.About)
	}
	return names, abouts
}

func about(now time.Time, parts []Part) string {
	var b strings.Builder
	fmt.Fprintf(&b, `A support file of reeve, written on %s.

It holds no secret: passwords, keys, tokens and addresses that are secret are not read
for it, and stand as <secret>.

It holds no names: of texts only plain words that reeve itself uses, numbers, times,
error codes and the hosts that Microsoft has for everybody are kept. In the place of
everything else (tenants, applications, people, hosts, addresses, paths) stands a
pseudonym such as host-1f3a09c2d4. The same thing has the same pseudonym throughout this
file, and another one in the next: the key that made them was thrown away.

A person or a thing that is named by a plain English word in small letters keeps that
word. Read the files before you pass them on; they are short.

`, now.UTC().Format(time.DateOnly))
	names, abouts := BundleFiles(parts)
	for i := range names {
		fmt.Fprintf(&b, "%-18s %s\n", names[i], abouts[i])
	}
	return b.String()
}
