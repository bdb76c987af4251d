package certstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/pki"
)

func newKeyset(t *testing.T) *certstore.Keyset {
	t.Helper()
	k, err := certstore.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustWrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLocalIsSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	l := openLocalIn(t, dir, newKeyset(t))
	e := entryOf(id, made()[0])
	if err := l.Put(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, id+".sealed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(spellings(t, e.Key), []byte(e.ClientID), e.Certificate.Raw[:40]) {
		if bytes.Contains(file, s) {
			t.Fatalf("the file says %q", s)
		}
	}
	if l.Name() != "local:"+dir {
		t.Errorf("its name is %s", l.Name())
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, id+".sealed"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v)", path, info.Mode(), err)
		}
	}
}

// What is wrong with a file is told apart, and nothing is overwritten.
func TestLocalSaysWhatIsWrong(t *testing.T) {
	e := entryOf(id, made()[0])
	for name, test := range map[string]struct {
		change func(t *testing.T, dir, path string, file []byte)
		keyset *certstore.Keyset // to open it again with; nil for the same
		want   string
	}{
		"another keyset": {func(*testing.T, string, string, []byte) {}, newKeyset(t), "sealed by key"},
		"a flipped bit":  {func(t *testing.T, _, path string, file []byte) { file[len(file)-20] ^= 1; mustWrite(t, path, file) }, nil, "is damaged"},
		"cut short":      {func(t *testing.T, _, path string, file []byte) { mustWrite(t, path, file[:len(file)-1]) }, nil, "is damaged"},
		"cut after its head": {func(t *testing.T, _, path string, file []byte) {
			mustWrite(t, path, file[:bytes.IndexByte(file, '\n')+3])
		}, nil, "ends early"},
		"empty":             {func(t *testing.T, _, path string, _ []byte) { mustWrite(t, path, nil) }, nil, "does not begin as"},
		"another program's": {func(t *testing.T, _, path string, _ []byte) { mustWrite(t, path, []byte("hello\n")) }, nil, "does not begin as"},
		"zeros":             {func(t *testing.T, _, path string, file []byte) { mustWrite(t, path, make([]byte, len(file))) }, nil, "does not begin as"},
		"large":             {func(t *testing.T, _, path string, _ []byte) { mustWrite(t, path, make([]byte, 2<<20)) }, nil, "more than"},
		"renamed": {func(t *testing.T, dir, path string, _ []byte) {
			if err := os.Rename(filepath.Join(dir, "other.sealed"), path); err != nil {
				t.Fatal(err)
			}
		}, nil, "entry \"other\" under another name"},
		"renamed and edited": {func(t *testing.T, dir, path string, _ []byte) {
			file, err := os.ReadFile(filepath.Join(dir, "other.sealed"))
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, path, bytes.Replace(file, []byte("other\n"), []byte(id+"\n"), 1))
		}, nil, "made from another entry's file"},
		"a link": {func(t *testing.T, dir, path string, _ []byte) {
			if err := errors.Join(os.Remove(path), os.Symlink("other.sealed", path)); err != nil {
				t.Fatal(err)
			}
		}, nil, "is a link"},
		"a folder": {func(t *testing.T, _, path string, _ []byte) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, nil, "is a link, folder"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, k := filepath.Join(t.TempDir(), "keys"), newKeyset(t)
			l := openLocalIn(t, dir, k)
			for _, e := range []certstore.Entry{e, entryOf("other", made()[1])} {
				if err := l.Put(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, id+".sealed")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			test.change(t, dir, path, file)
			if test.keyset != nil {
				l = openLocalIn(t, dir, test.keyset)
			}
			before := tree(t, dir)
			_, get := l.Get(t.Context(), id)
			for what, err := range map[string]error{"get": get, "put": l.Put(t.Context(), e)} {
				if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want %q", what, err, test.want)
				}
			}
			if after := tree(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Error("the folder was changed")
			}
		})
	}
}

// What a process leaves that is killed after each step of Put, and what becomes of it.
func TestLocalAfterACrash(t *testing.T) {
	now := time.Now()
	const temp = "." + id + ".sealed-ABCDEFGHIJ.new"
	whole := entryOf(id, made()[0])
	bare := whole
	bare.Certificate = nil
	for _, kept := range []bool{false, true} { // is the key there without its certificate?
		for name, leave := range map[string]func(t *testing.T, dir string, file []byte){
			"nothing":         func(*testing.T, string, []byte) {},
			"the lock's file": func(t *testing.T, dir string, _ []byte) { mustWrite(t, filepath.Join(dir, ".lock"), nil) },
			"an empty file":   func(t *testing.T, dir string, _ []byte) { mustWrite(t, filepath.Join(dir, temp), nil) },
			"half a file": func(t *testing.T, dir string, file []byte) {
				mustWrite(t, filepath.Join(dir, temp), file[:len(file)/2])
			},
			"a whole file, not yet placed": func(t *testing.T, dir string, file []byte) { mustWrite(t, filepath.Join(dir, temp), file) },
			"a placed file":                func(t *testing.T, dir string, file []byte) { mustWrite(t, filepath.Join(dir, id+".sealed"), file) },
		} {
			t.Run(fmt.Sprintf("%s, kept %v", name, kept), func(t *testing.T) {
				k := newKeyset(t)
				elsewhere := openLocalIn(t, filepath.Join(t.TempDir(), "elsewhere"), k)
				if err := elsewhere.Put(t.Context(), whole); err != nil {
					t.Fatal(err)
				}
				file, err := os.ReadFile(filepath.Join(elsewhere.Name()[len("local:"):], id+".sealed"))
				if err != nil {
					t.Fatal(err)
				}
				dir := filepath.Join(t.TempDir(), "keys")
				l := openLocalIn(t, dir, k)
				if kept {
					if err := l.Put(t.Context(), bare); err != nil {
						t.Fatal(err)
					}
				}
				leave(t, dir, file)

				got, err := l.Get(t.Context(), id)
				switch placed := name == "a placed file"; {
				case !kept && !placed && !errors.Is(err, fs.ErrNotExist):
					t.Errorf("got %v, %v", got, err)
				case placed && (err != nil || diffEntry(whole, got) != ""):
					t.Errorf("got %v, %v", got, err)
				case kept && !placed && (err != nil || diffEntry(bare, got) != ""):
					t.Errorf("got %v, %v", got, err)
				}
				if ids, err := l.List(t.Context()); err != nil || len(ids) > 1 {
					t.Errorf("it lists %v, %v", ids, err)
				}
				for _, later := range []time.Duration{0, 2 * time.Hour} {
					l.Now = func() time.Time { return now.Add(later) }
					if err := l.Put(t.Context(), whole); err != nil {
						t.Fatal(err)
					}
					if got, err := l.Get(t.Context(), id); err != nil || diffEntry(whole, got) != "" {
						t.Errorf("got %v, %v", got, err)
					}
				}
				for path := range tree(t, dir) {
					if path != id+".sealed" && path != ".lock" {
						t.Errorf("left over: %s", path)
					}
				}
			})
		}
	}
}

func TestLocalLeavesYoungFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	l := openLocalIn(t, dir, newKeyset(t))
	for _, name := range []string{".x.sealed-ABCDEFGHIJ.new", ".x.new", "notes.txt"} {
		mustWrite(t, filepath.Join(dir, name), []byte("x"))
	}
	if err := l.Put(t.Context(), entryOf("a", made()[0])); err != nil {
		t.Fatal(err)
	}
	l.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	if left := len(tree(t, dir)); left != 5 {
		t.Errorf("%d files", left)
	}
	if err := l.Put(t.Context(), entryOf("b", made()[1])); err != nil {
		t.Fatal(err)
	}
	if left := tree(t, dir); len(left) != 5 || left["notes.txt"] == "" || left[".x.new"] == "" {
		t.Errorf("left: %v", left)
	}
}

// Two processes make the same entry at once: one key stays, and the other is told.
func TestLocalRace(t *testing.T) {
	dir, k := filepath.Join(t.TempDir(), "keys"), newKeyset(t)
	stores := []*certstore.Local{openLocalIn(t, dir, k), openLocalIn(t, dir, k), openLocalIn(t, dir, k)}
	for round := range 20 {
		id := fmt.Sprintf("race-%d", round)
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i, l := range stores {
			wg.Go(func() {
				errs[i] = l.Put(t.Context(), entryOf(id, made()[i]))
				if e, err := l.Get(t.Context(), id); err != nil || e.Certificate == nil {
					t.Errorf("a half state: %v, %v", e, err)
				}
			})
		}
		wg.Wait()
		got, err := stores[0].Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		won := 0
		for i, err := range errs {
			switch {
			case err == nil && pki.SameKey(got.Key.Public(), made()[i].Key.Public()):
				won++
			case !errors.Is(err, certstore.ErrOtherKey):
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Errorf("round %d: %d won", round, won)
		}
	}
}

// A process that keeps entries and says so is killed. Whatever it said is there.
func TestLocalWhenKilled(t *testing.T) {
	const variable = "CERTSTORE_TEST_KEEP"
	if dir := os.Getenv(variable); dir != "" {
		k, err := certstore.OpenKeyset(context.Background(), certstore.KeysetSource{File: dir + ".json"})
		if err != nil {
			t.Fatal(err)
		}
		l, err := certstore.OpenLocal(dir, k)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100_000 {
			key, err := pki.NewKey(pki.P256)
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("%s-%d", os.Getenv(variable+"_ROUND"), i)
			if err := l.Put(context.Background(), certstore.Entry{ID: id, Key: key}); err != nil {
				t.Fatal(err)
			}
			fmt.Println("kept", id)
		}
		return
	}
	if runtime.GOOS == "windows" {
		t.Skip("processes are not killed there as they are here")
	}
	dir := filepath.Join(t.TempDir(), "keys")
	var said []string
	for round := range 15 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLocalWhenKilled$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"="+dir, fmt.Sprintf("%s_ROUND=%d", variable, round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, n := bufio.NewScanner(out), 0
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "kept "); ok {
				said = append(said, id)
				if n++; n == 1+round*2 {
					cmd.Process.Kill()
				}
			}
		}
		cmd.Wait()
		if n == 0 {
			t.Fatal("it kept nothing")
		}
	}
	k, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{File: dir + ".json", Entries: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := openLocalIn(t, dir, k)
	ids, err := l.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := l.Get(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range said {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is not there", id)
		}
	}
	t.Logf("%d said to be kept, %d there", len(said), len(ids))
}

func TestLocalWaitsForTheLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	l := openLocalIn(t, dir, newKeyset(t))
	unlock := certstore.LockFolder(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Put(ctx, entryOf(id, made()[0])); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	unlock()
	if err := l.Put(t.Context(), entryOf(id, made()[0])); err != nil {
		t.Error(err)
	}
}

func TestOpenLocalRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	k := newKeyset(t)
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := certstore.OpenLocal(shared, k); err == nil || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("a folder that others can use: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, nil)
	if _, err := certstore.OpenLocal(file, k); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("a file: %v", err)
	}
	foreign := t.TempDir()
	if err := os.Chmod(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(foreign, 1234, 1234); err != nil {
		t.Skip("making folders of others needs root:", err)
	}
	if _, err := certstore.OpenLocal(foreign, k); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("a folder of others: %v", err)
	}
}

func TestLocalWhoseFolderIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	l := openLocalIn(t, dir, newKeyset(t))
	if err := l.Put(t.Context(), entryOf(id, made()[0])); err != nil {
		t.Fatal(err)
	}
	// The folder is gone while it is open: nothing can be made in it.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), entryOf(id, made()[0])); err == nil {
		t.Error("it was kept nowhere")
	}
}
