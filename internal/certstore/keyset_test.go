package certstore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/reeve365/reeve/internal/certstore"
)

func TestKeysetInAFile(t *testing.T) {
	dir := t.TempDir()
	source := certstore.KeysetSource{File: filepath.Join(dir, "etc", "keyset.json"), Entries: filepath.Join(dir, "keys")}
	keysets := make([]*certstore.Keyset, 8)
	var wg sync.WaitGroup
	for i := range keysets {
		wg.Go(func() {
			var err error
			if keysets[i], err = certstore.OpenKeyset(t.Context(), source); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, k := range keysets {
		if k.Reveal() != keysets[0].Reveal() {
			t.Error("there are several")
		}
	}
	if info, err := os.Stat(source.File); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	l := openLocalIn(t, source.Entries, keysets[0])
	if err := l.Put(t.Context(), entryOf(id, made()[0])); err != nil {
		t.Fatal(err)
	}

	// It is lost: no new one is made in silence.
	text := keysets[0].Reveal()
	if err := os.Remove(source.File); err != nil {
		t.Fatal(err)
	}
	_, err := certstore.OpenKeyset(t.Context(), source)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "has entries that it sealed") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(source.File); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}

	// As text it does as well.
	k, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Text: "  " + text + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openLocalIn(t, source.Entries, k).Get(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestKeysetFileOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	path := filepath.Join(t.TempDir(), "keyset.json")
	mustWrite(t, path, []byte(newKeyset(t).Reveal()))
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{File: path}); err == nil || !strings.Contains(err.Error(), "chmod 0600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{File: path}); err != nil {
		t.Error(err)
	}
}

func TestKeysetRefuses(t *testing.T) {
	good := newKeyset(t).Reveal()
	for name, test := range map[string]struct{ text, want string }{
		"half":           {good[:len(good)/2], "not the JSON"},
		"not JSON":       {"secret words", "not the JSON"},
		"no keys":        {`{"primaryKeyId":1,"key":[]}`, "not the JSON"},
		"blank":          {" \n", "is empty"},
		"long":           {strings.Repeat(" ", 1<<20) + good, "more than"},
		"another kind":   {strings.Replace(good, "AesGcmKey", "AesGcmSivKey", 1), ""},
		"without prefix": {strings.Replace(good, `"outputPrefixType":"TINK"`, `"outputPrefixType":"RAW"`, 1), "tink's prefix"},
	} {
		_, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Text: test.text})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	empty := filepath.Join(t.TempDir(), "keyset.json")
	mustWrite(t, empty, nil)
	for name, s := range map[string]certstore.KeysetSource{
		"nothing": {}, "two": {Text: good, File: "x"}, "a folder": {File: t.TempDir()}, "an empty file": {File: empty},
	} {
		if _, err := certstore.OpenKeyset(t.Context(), s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestKeysetInTheVault(t *testing.T) {
	w := manager(t)
	k := newKeyset(t)
	setSecret(t, w, "keyset", k.Reveal(), nil)
	r, err := certstore.ParseReference(w.Origins().Vault + "/secrets/keyset")
	if err != nil {
		t.Fatal(err)
	}
	got, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Vault: w.vault, Secret: r})
	if err != nil || got.Reveal() != k.Reveal() {
		t.Errorf("another keyset (%v)", err)
	}
	for reference, want := range map[string]string{
		w.Origins().Vault + "/secrets/absent":      "404",
		w.Origins().Vault + "/certificates/keyset": "is no secret",
		"https://other.example/secrets/keyset":     "the client is for",
	} {
		r, err := certstore.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Vault: w.vault, Secret: r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", reference, err, want)
		}
	}
}

func TestReseal(t *testing.T) {
	dir := t.TempDir()
	source := certstore.KeysetSource{File: filepath.Join(dir, "keyset.json"), Entries: filepath.Join(dir, "keys")}
	first, err := certstore.OpenKeyset(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	l := openLocalIn(t, source.Entries, first)
	for i, p := range made() {
		if err := l.Put(t.Context(), entryOf(fmt.Sprint(i), p)); err != nil {
			t.Fatal(err)
		}
	}
	second, err := certstore.RotateKeyset(source.File)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := certstore.OpenKeyset(t.Context(), source); err != nil || again.Reveal() != second.Reveal() {
		t.Errorf("the file has another keyset (%v)", err)
	}
	rotated := openLocalIn(t, source.Entries, second)
	if _, err := rotated.Get(t.Context(), "1"); err != nil {
		t.Errorf("what the old key sealed is not opened: %v", err)
	}
	// One is damaged: the others are sealed anew all the same.
	mustWrite(t, filepath.Join(source.Entries, "0.sealed"), []byte("x"))
	if err := rotated.Reseal(t.Context()); err == nil || !strings.Contains(err.Error(), "private key 0 ") || strings.Contains(err.Error(), "private key 1 ") {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{"1", "2"} {
		if _, err := l.Get(t.Context(), id); !errors.Is(err, certstore.ErrKeyset) || !strings.Contains(err.Error(), "the keyset "+source.File+" does not have") {
			t.Errorf("the old keyset opens %s: %v", id, err)
		}
		if got, err := rotated.Get(t.Context(), id); err != nil || got.ID != id {
			t.Error(err)
		}
	}
	before := tree(t, source.Entries)
	if rotated.Reseal(t.Context()); fmt.Sprint(tree(t, source.Entries)) != fmt.Sprint(before) {
		t.Error("what was sealed anew is sealed again")
	}
}
