package certstore_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/pki"
)

// needsLinks skips a test where links cannot be made.
func needsLinks(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("links need a right there")
	}
}

func directoryTarget(t *testing.T, path, options string) certstore.Target {
	t.Helper()
	return openTarget(t, "directory:"+path+options, nil, nil)
}

// leads returns where a link of the folder leads.
func leads(t *testing.T, dir, name string) string {
	t.Helper()
	to, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return to
}

func pairIn(t *testing.T, folder string) pki.Pair {
	t.Helper()
	p, err := certstore.File(filepath.Join(folder, "certificate.pem"), "")
	if err != nil {
		t.Error(err)
	}
	return p
}

func TestDirectoryTarget(t *testing.T) {
	needsLinks(t)
	dir := filepath.Join(t.TempDir(), "app", "certificate")
	target := directoryTarget(t, dir, "")
	if target.Name() != "directory:"+dir {
		t.Errorf("its name is %s", target.Name())
	}
	if _, err := target.Published(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before anything: %v", err)
	}
	first := made()[0]
	first.Chain = []*x509.Certificate{made()[2].Certificate}
	mustPublish(t, target, publication(7, first))
	before := tree(t, dir)
	mustPublish(t, target, publication(7, first))
	if fmt.Sprint(tree(t, dir)) != fmt.Sprint(before) {
		t.Error("publishing it again changes something")
	}

	current := filepath.Join(dir, "current")
	files := slices.Sorted(maps.Keys(tree(t, current+"/")))
	if want := []string{"certificate.cer", "certificate.pem", "credential.json", "key.pem"}; !slices.Equal(files, want) {
		t.Errorf("the files are %v", files)
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(current, name))
		if err != nil {
			t.Error(err)
		}
		return data
	}
	if contents, err := pki.Read(read("certificate.pem"), ""); err != nil || len(contents.Keys) != 1 || len(contents.Certificates) != 2 {
		t.Errorf("certificate.pem: %v, %v", contents, err)
	}
	if contents, err := pki.Read(read("key.pem"), ""); err != nil || len(contents.Keys) != 1 || len(contents.Certificates) != 0 || !pki.SameKey(contents.Keys[0].Public(), first.Key.Public()) {
		t.Errorf("key.pem: %v, %v", contents, err)
	}
	if contents, err := pki.Read(read("certificate.cer"), ""); err != nil || len(contents.Keys) != 0 || len(contents.Certificates) != 1 {
		t.Errorf("certificate.cer: %v, %v", contents, err)
	}
	var about map[string]any
	if err := json.Unmarshal(read("credential.json"), &about); err != nil || about["generation"] != 7.0 || about["clientId"] != "client" || about["thumbprint"] != pki.SHA1(first.Certificate) {
		t.Errorf("credential.json: %v, %v", about, err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	// The generation before is kept, older ones are not.
	mustPublish(t, target, publication(8, made()[1]))
	if !pairIn(t, filepath.Join(dir, "previous")).Certificate.Equal(first.Certificate) || !strings.HasPrefix(leads(t, dir, "current"), "generation-8-") {
		t.Error("previous or current is wrong")
	}
	mustPublish(t, target, publication(9, made()[2]))
	if generations, err := filepath.Glob(filepath.Join(dir, "generation-*")); err != nil || len(generations) != 2 {
		t.Errorf("there are %v (%v)", generations, err)
	}
	mustPublish(t, target, publication(10, made()[1])) // rolled back
}

func TestDirectoryTargetForAGroup(t *testing.T) {
	needsLinks(t)
	group := fmt.Sprint(os.Getegid())
	if os.Geteuid() == 0 {
		group = "1234"
	}
	dir := filepath.Join(forAll(t), "app", "certificate")
	target := directoryTarget(t, dir, ",mode=0440,group="+group)
	if err := target.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, target, publication(1, made()[0]))
	for path, want := range map[string]fs.FileMode{filepath.Dir(dir): 0o750, dir: 0o750, dir + "/current/.": 0o750, dir + "/current/key.pem": 0o440} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want || fmt.Sprint(certstore.GroupOf(info)) != group {
			t.Errorf("%s: %v, group %v (%v)", path, info.Mode(), certstore.GroupOf(info), err)
		}
	}
	// Taken away again, the files are their owner's alone.
	target = directoryTarget(t, dir, "")
	mustPublish(t, target, publication(1, made()[0]))
	if info, err := os.Stat(dir + "/current/key.pem"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := directoryTarget(t, dir, ",group=no-such-group").Check(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no group") {
		t.Errorf("got %v", err)
	}
}

// forAll is a folder into which everybody can go; where that cannot be, the test is skipped.
func forAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	at, err := filepath.EvalSymlinks(dir)
	for ; err == nil && at != filepath.Dir(at); at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil || info.Mode()&0o001 == 0 {
			t.Skipf("temporary folders are their owner's alone here: %s (%v)", at, err)
		}
	}
	return dir
}

// A group that is given to a target later can go into its folder, or is told why not.
func TestDirectoryTargetForAGroupLater(t *testing.T) {
	needsLinks(t)
	group := os.Getegid()
	if os.Geteuid() == 0 {
		group = 1234
	}
	options := fmt.Sprint(",group=", group)
	folder := func(mode fs.FileMode, inside string) string {
		dir := filepath.Join(forAll(t), "certificate")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		if inside != "" {
			mustWrite(t, filepath.Join(dir, inside), []byte("x"))
		}
		return dir
	}
	reads := func(dir string) {
		t.Helper()
		for path, want := range map[string]fs.FileMode{dir: 0o750, dir + "/current/.": 0o750, dir + "/current/key.pem": 0o640} {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != want || certstore.GroupOf(info) != group {
				t.Errorf("%s: %v, group %v (%v)", path, info.Mode(), certstore.GroupOf(info), err)
			}
		}
	}

	dir := folder(0o700, "")
	mustPublish(t, directoryTarget(t, dir, ""), publication(1, made()[0]))
	target := directoryTarget(t, dir, options)
	if err := target.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("checking changed it: %v, %v", info.Mode(), err)
	}
	mustPublish(t, target, publication(1, made()[0]))
	reads(dir)

	// Somebody took the group away from a generation, and from a folder without links.
	at := filepath.Join(dir, leads(t, dir, "current"))
	if err := os.Chmod(at, 0o700); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, target, publication(1, made()[0]))
	reads(dir)
	dir = folder(0o700, "")
	if err := os.Mkdir(dir+"/current", 0o700); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, directoryTarget(t, dir, options), publication(1, made()[0]))
	reads(dir)

	// What else is in the folder is not shown to a group by reeve.
	refused := func(dir, want string) {
		t.Helper()
		target := directoryTarget(t, dir, options)
		for _, err := range []error{target.Check(t.Context()), target.Publish(t.Context(), publication(1, made()[0]))} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	}
	shared := folder(0o700, "notes.txt")
	refused(shared, fmt.Sprintf("chgrp %d %s", group, shared))
	if info, err := os.Stat(shared); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	mustPublish(t, directoryTarget(t, folder(0o711, "notes.txt"), options), publication(1, made()[0]))
	above := forAll(t)
	if err := os.Chmod(above, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(filepath.Join(above, "certificate"), "chmod o+x "+above)
}

func TestDirectoryTargetWritesPFX(t *testing.T) {
	needsLinks(t)
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	target := directoryTarget(t, filepath.Join(dir, "certificate"), ",password-file="+password)
	for name, prepare := range map[string]func() error{
		"no such file":       func() error { return nil },
		"empty":              func() error { return os.WriteFile(password, []byte("\n"), 0o600) },
		"cannot be in a PFX": func() error { return os.WriteFile(password, []byte("a\x01b"), 0o600) },
		"that others can read": func() error {
			return errors.Join(os.WriteFile(password, []byte("a"), 0o600), os.Chmod(password, 0o644))
		},
	} {
		os.Remove(password)
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		check, publish := target.Check(t.Context()), target.Publish(t.Context(), publication(1, made()[0]))
		if check == nil || publish == nil || !strings.Contains(publish.Error(), password) {
			t.Errorf("%s: %v, %v", name, check, publish)
		}
	}
	if _, err := target.Published(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was published: %v", err)
	}
	os.Remove(password)
	const word = "canary-4711-password"
	mustWrite(t, password, []byte(word+"\r\n"))
	mustPublish(t, target, publication(1, made()[0]))
	file := filepath.Join(dir, "certificate", "current", "certificate.pfx")
	pair, err := certstore.File(file, word)
	if err != nil || !pair.Certificate.Equal(made()[0].Certificate) {
		t.Errorf("got %v, %v", pair, err)
	}
	before := leads(t, filepath.Join(dir, "certificate"), "current")
	mustPublish(t, target, publication(1, made()[0]))
	if leads(t, filepath.Join(dir, "certificate"), "current") != before {
		t.Error("publishing it again makes another generation")
	}
	mustWrite(t, password, []byte("another-password"))
	mustPublish(t, target, publication(1, made()[0]))
	if _, err := certstore.File(file, "another-password"); err != nil {
		t.Errorf("the password was changed, and the file was not: %v", err)
	}
}

// What a process leaves that is killed after each step of Publish, and what becomes of
// it: what is published is always whole.
func TestDirectoryTargetAfterACrash(t *testing.T) {
	needsLinks(t)
	const (
		oldGeneration = "generation-1-AAAAAAAAAA"
		newGeneration = "generation-2-BBBBBBBBBB"
		temp          = ".generation-2-BBBBBBBBBB.new"
	)
	oldPair, newPair := made()[0], made()[1]
	// fill copies the files of what was published elsewhere.
	fill := func(t *testing.T, from, to string, only ...string) {
		t.Helper()
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range tree(t, from+"/") {
			if len(only) == 0 || slices.Contains(only, name) {
				mustWrite(t, filepath.Join(to, name), []byte(content))
			}
		}
	}
	link := func(t *testing.T, to, name string) {
		t.Helper()
		os.Remove(name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		name  string
		leave func(t *testing.T, dir, from string)
		now   pki.Pair // published then
	}{
		{"the lock", func(t *testing.T, dir, _ string) { mustWrite(t, dir+"/.lock", nil) }, oldPair},
		{"an empty folder", func(t *testing.T, dir, _ string) { fill(t, t.TempDir(), dir+"/"+temp) }, oldPair},
		{"an empty file", func(t *testing.T, dir, _ string) {
			fill(t, t.TempDir(), dir+"/"+temp)
			mustWrite(t, dir+"/"+temp+"/certificate.pem", nil)
		}, oldPair},
		{"half a file", func(t *testing.T, dir, from string) {
			fill(t, from, dir+"/"+temp, "certificate.pem")
			if err := os.Truncate(dir+"/"+temp+"/certificate.pem", 100); err != nil {
				t.Fatal(err)
			}
		}, oldPair},
		{"one file", func(t *testing.T, dir, from string) { fill(t, from, dir+"/"+temp, "certificate.pem") }, oldPair},
		{"all files", func(t *testing.T, dir, from string) { fill(t, from, dir+"/"+temp) }, oldPair},
		{"a generation without a link", func(t *testing.T, dir, from string) { fill(t, from, dir+"/"+newGeneration) }, oldPair},
		{"a link of previous not in its place", func(t *testing.T, dir, from string) {
			fill(t, from, dir+"/"+newGeneration)
			link(t, oldGeneration, dir+"/.previous-ABCDEFGHIJ.new")
		}, oldPair},
		{"previous as current", func(t *testing.T, dir, from string) {
			fill(t, from, dir+"/"+newGeneration)
			link(t, oldGeneration, dir+"/previous")
		}, oldPair},
		{"a link of current not in its place", func(t *testing.T, dir, from string) {
			fill(t, from, dir+"/"+newGeneration)
			link(t, oldGeneration, dir+"/previous")
			link(t, newGeneration, dir+"/.current-ABCDEFGHIJ.new")
		}, oldPair},
		{"older generations not removed", func(t *testing.T, dir, from string) {
			fill(t, from, dir+"/"+newGeneration)
			link(t, oldGeneration, dir+"/previous")
			link(t, newGeneration, dir+"/current")
		}, newPair},
	} {
		t.Run(fmt.Sprintf("%d %s", i, step.name), func(t *testing.T) {
			elsewhere := t.TempDir()
			for n, p := range []pki.Pair{oldPair, newPair} {
				mustPublish(t, directoryTarget(t, fmt.Sprint(elsewhere, "/", n), ""), publication(int64(n+1), p))
			}
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			fill(t, elsewhere+"/0/current", dir+"/"+oldGeneration)
			fill(t, elsewhere+"/0/current", dir+"/generation-0-CCCCCCCCCC")
			link(t, oldGeneration, dir+"/current")
			link(t, "generation-0-CCCCCCCCCC", dir+"/previous")
			step.leave(t, dir, elsewhere+"/1/current")

			target := directoryTarget(t, dir, "")
			wantPublished(t, target, step.now)
			mustPublish(t, target, publication(2, newPair))
			if !pairIn(t, dir+"/previous").Certificate.Equal(oldPair.Certificate) {
				t.Error("previous is another")
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 5 { // two generations, two links, the lock
				t.Errorf("there are %v (%v)", entries, err)
			}
		})
	}
}

// Where there are no links, files are replaced one by one.
func TestDirectoryTargetWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.Mkdir(dir+"/current", 0o700)); err != nil {
		t.Fatal(err)
	}
	target := directoryTarget(t, dir, "")
	if _, err := target.Published(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	mustPublish(t, target, publication(1, made()[0]))
	mustPublish(t, target, publication(2, made()[1]))
	for range 2 {
		if !pairIn(t, dir+"/previous").Certificate.Equal(made()[0].Certificate) || !pairIn(t, dir+"/current").Certificate.Equal(made()[1].Certificate) {
			t.Error("previous or current is wrong")
		}
		// Killed after the first file: again, and what was before is still kept.
		third := filepath.Join(t.TempDir(), "third")
		mustPublish(t, directoryTarget(t, third, ""), publication(2, made()[1]))
		mustWrite(t, dir+"/current/key.pem", []byte("what was there before"))
		mustWrite(t, dir+"/current/.key.pem-ABCDEFGHIJ.new", []byte("half"))
		mustPublish(t, target, publication(2, made()[1]))
		if key, err := os.ReadFile(dir + "/current/key.pem"); err != nil || strings.HasPrefix(string(key), "what") {
			t.Errorf("key.pem was left as it was (%v)", err)
		}
	}
	if files := tree(t, dir+"/current"); len(files) != 4 {
		t.Errorf("the files are %v", slices.Collect(maps.Keys(files)))
	}
}

// A program that reads while reeve publishes gets a whole pair, and both files of one
// generation if it asks once where current leads.
func TestDirectoryTargetWhileItIsRead(t *testing.T) {
	needsLinks(t)
	dir := filepath.Join(t.TempDir(), "certificate")
	target := directoryTarget(t, dir, "")
	mustPublish(t, target, publication(0, made()[0]))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for reads := 0; ; reads++ {
			select {
			case <-stop:
				t.Logf("%d reads", reads)
				return
			default:
			}
			data, err := os.ReadFile(filepath.Join(dir, "current", "certificate.pem"))
			if err == nil {
				_, err = pki.Parse(data, "")
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() { // two publish at once
		for i := range 20 {
			if err := target.Publish(t.Context(), publication(int64(i), made()[2])); err != nil && !strings.Contains(err.Error(), "see who else") {
				t.Error(err)
			}
		}
	})
	for i := range 20 {
		if err := target.Publish(t.Context(), publication(int64(i), made()[i%2])); err != nil && !strings.Contains(err.Error(), "see who else") {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestDirectoryTargetRefuses(t *testing.T) {
	needsLinks(t)
	publish := func(path string) error {
		target := directoryTarget(t, path, "")
		check := target.Check(t.Context())
		err := target.Publish(t.Context(), publication(1, made()[0]))
		if (check == nil) != (err == nil) {
			t.Errorf("checking says %v and publishing %v", check, err)
		}
		return err
	}
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, []byte("x"))
	elsewhere := t.TempDir()
	private := func() string {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	planted := func(name, to string) string {
		dir := private()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	shared := private()
	if err := os.Chmod(shared, 0o770); err != nil {
		t.Fatal(err)
	}
	inTheWay := private()
	mustWrite(t, inTheWay+"/current", []byte("x"))
	for want, path := range map[string]string{
		"is not a folder":                 file,
		"chmod":                           shared,
		"current is in the way":           inTheWay,
		"current leads to \"" + elsewhere: planted("current", elsewhere),
		"current leads to \"../":          planted("current", "../"+filepath.Base(elsewhere)),
		"previous leads to":               planted("previous", elsewhere),
		".lock is not a file":             planted(".lock", file),
	} {
		if err := publish(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if got := tree(t, elsewhere); len(got) != 0 {
		t.Errorf("written through a link: %v", got)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "x" {
		t.Errorf("the file is %q now (%v)", data, err)
	}
	foreign := filepath.Join(private(), "link")
	if err := os.Symlink(elsewhere, foreign); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(foreign, 1234, 1234); err != nil {
		t.Skip("making links of others needs root:", err)
	}
	if err := publish(foreign + "/certificate"); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("through a link of others: %v", err)
	}
	if err := os.Chmod(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(elsewhere, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if err := publish(elsewhere); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("a folder of others: %v", err)
	}
}
