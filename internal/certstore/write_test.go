package certstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/certstore"
)

// tree gives every file below a folder, by its path, with its content; of a
// symbolic link where it leads, of a folder nothing.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir():
			found[name+"/"] = ""
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			found[name] = "-> " + to
			return err
		default:
			data, err := os.ReadFile(path)
			found[name] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// fill makes files in a new folder: a name that ends in "/" is a folder, a content
// that begins with "-> " a symbolic link.
func fill(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err != nil {
			t.Fatal(err)
		}
		switch to, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o700)
		case link:
			err = os.Symlink(to, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestWriteFiles(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  map[string]string
		write   []string // names; the content is "new"
		replace bool
		after   map[string]string // nil: as before, with an error
		want    string            // in the error
	}{
		{"new", nil, []string{"a", "b"}, false, map[string]string{"a": "new", "b": "new"}, ""},
		{"new folders", nil, []string{"x/y/a", "x/b"}, false, map[string]string{"x/": "", "x/y/": "", "x/y/a": "new", "x/b": "new"}, ""},
		{"the last exists", map[string]string{"c": "old"}, []string{"a", "x/b", "c"}, false, nil, "c: file already exists"},
		{"the last exists, replaced", map[string]string{"c": "old"}, []string{"a", "c"}, true, map[string]string{"a": "new", "c": "new"}, ""},
		{"all exist, replaced", map[string]string{"a": "old", "c": "old"}, []string{"a", "c"}, true, map[string]string{"a": "new", "c": "new"}, ""},
		{"a folder in the way", map[string]string{"a": "old", "c/": ""}, []string{"a", "c"}, true, nil, "c: there is a folder"},
		{"a file in the place of a folder", map[string]string{"c": "old"}, []string{"a", "c/d"}, true, nil, "c/d: "},
		{"the same name twice", nil, []string{"x/a", "x/y/../a"}, true, nil, "two files"},
		{"a link in the way", map[string]string{"other": "old", "c": "-> other"}, []string{"c"}, false, nil, "c: file already exists"},
		{"a link to nowhere", map[string]string{"c": "-> nowhere"}, []string{"c"}, false, nil, "c: file already exists"},
		{"a link replaced", map[string]string{"other": "old", "c": "-> other"}, []string{"c"}, true, map[string]string{"other": "old", "c": "new"}, ""},
		{"a folder through one's own link", map[string]string{"real/": "", "link": "-> real"}, []string{"link/c"}, false,
			map[string]string{"real/": "", "link": "-> real", "real/c": "new"}, ""},
		{"one place by two ways", map[string]string{"real/": "", "link": "-> real"}, []string{"a", "real/c", "link/c"}, false, nil, "link/c: file already exists"},
		{"one place by two ways, replaced", map[string]string{"real/": "", "link": "-> real", "a": "old"}, []string{"a", "real/c", "link/c"}, true, nil, "link/c: two files"},
		{"one place by two ways, where something was", map[string]string{"real/": "", "link": "-> real", "real/c": "old"}, []string{"real/c", "link/c"}, true, nil, "link/c: two files"},
		{"a link that leads round in a circle", map[string]string{"x": "-> y", "y": "-> x"}, []string{"x/c"}, false, nil, "x/c: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := fill(t, test.before)
			before := tree(t, folder)
			var files []certstore.NewFile
			for _, name := range test.write {
				files = append(files, certstore.NewFile{Path: folder + "/" + name, Data: []byte("new")})
			}
			err := certstore.WriteFiles(files, test.replace)
			if test.after == nil {
				test.after = before
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if errors.Is(err, fs.ErrExist) != strings.Contains(test.want, "already exists") {
					t.Errorf("%v: is it fs.ErrExist?", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(test.after, tree(t, folder)); d != "" {
				t.Errorf("the folder (-want +got):\n%s", d)
			}
		})
	}
}

func TestWriteFilesIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "x", "y", "key.pem")
	if err := certstore.WriteFiles([]certstore.NewFile{{Path: path, Data: []byte("new")}}, false); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(folder, "x"): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
	// A file that others could read is not one any more.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := certstore.WriteFiles([]certstore.NewFile{{Path: path, Data: []byte("newer")}}, true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("replaced, it has mode %v (%v)", info.Mode().Perm(), err)
	}
}

// What another user linked to may be anything, so it is not gone through.
func TestWriteFilesThroughForeignLink(t *testing.T) {
	folder := fill(t, map[string]string{"real/": "", "link": "-> real", "own": "-> link", "up": "-> real/../link"})
	if err := os.Lchown(filepath.Join(folder, "link"), 1234, 1234); err != nil {
		t.Skip("making links of others needs root:", err)
	}
	before := tree(t, folder)
	for _, name := range []string{"link/a", "link/sub/a", "own/a", "up/a"} {
		err := certstore.WriteFiles([]certstore.NewFile{{Path: filepath.Join(folder, name), Data: []byte("new")}}, true)
		if err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if d := cmp.Diff(before, tree(t, folder)); d != "" {
		t.Errorf("the folder (-want +got):\n%s", d)
	}
}
