package app_test

import (
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

func TestEnvFileIsNoDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	reeve(t, nil, "emulate", "--env-file", dir).want(t, usage, "is a directory: name a file")
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
