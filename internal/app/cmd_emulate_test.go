package app_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The variables hold secrets: who shares the folder cannot have them written to
// a file of their own.
func TestEnvFileIsNobodyElses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, foreign := filepath.Join(dir, "tenant.env"), filepath.Join(dir, "foreign")
	if err := os.WriteFile(foreign, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(foreign, filepath.Join(dir, ".tenant.env.new")); err != nil {
		t.Fatal(err)
	}
	r := start(t, nil, "emulate", "--env-file", file, "--dir", filepath.Join(dir, "client"), "--calm", "--users", "1", "--days", "1", "--per-user", "1")
	r.says(t, regexp.MustCompile(`Point a client at it`))
	r.interrupt(t)
	if text, err := os.ReadFile(foreign); err != nil || len(text) > 0 {
		t.Errorf("the foreign file: %d bytes (%v)", len(text), err)
	}
}

func TestEnvFileThatIsSomethingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, foreign := filepath.Join(dir, "empty"), filepath.Join(dir, "precious.txt")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(foreign, []byte("precious"), 0o600)); err != nil {
		t.Fatal(err)
	}
	reeve(t, nil, "emulate", "--env-file", folder).want(t, usage, "is not a file")
	reeve(t, nil, "emulate", "--env-file", foreign).want(t, usage, "reeve emulate did not write it")
	if _, err := os.Stat(folder); err != nil {
		t.Error(err)
	}
	if got := string(mustRead(t, foreign)); got != "precious" {
		t.Errorf("the file holds %q", got)
	}
}

// A file of variables goes with its own tenant, and stays while the options are
// wrong.
func TestEnvFileOfAnotherTenant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "tenant.env")
	begin := func() *running {
		r := start(t, nil, "emulate", "--env-file", file, "--calm", "--users", "1", "--days", "1", "--per-user", "1", "--fault", "logs:reset")
		r.says(t, regexp.MustCompile(`Point a client at it`))
		return r
	}
	first := begin()
	reeve(t, nil, "emulate", "--env-file", file, "--days", "9").want(t, usage, "--days")
	old := mustRead(t, file)
	second := begin()
	o := first.interrupt(t)
	o.want(t, ok, "fault: logs:reset, 0 of 0 calls")
	if now := mustRead(t, file); bytes.Equal(now, old) {
		t.Error("the second tenant's variables are those of the first")
	}
	second.interrupt(t).want(t, ok)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the variables are still there: %v", err)
	}
}
