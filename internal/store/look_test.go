package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

// TestLook: a database is looked at, and stays as it is.
func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reeve.db")
	url := "sqlite:" + path
	if _, err := store.Look(t.Context(), url, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was made")
	}
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // while it is open, and twice
		c, err := store.Look(t.Context(), url, "")
		if err != nil || c.Schema == 0 || c.Schema != c.Known || c.Journal != "wal" || c.Bytes == 0 {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var left int
	if err := raw.QueryRow(`SELECT count(*) FROM sqlite_master WHERE name LIKE 'reeve_look%'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d tables are left: %v", left, err)
	}

	// Of a newer reeve, of an older one.
	change := func(query string) {
		t.Helper()
		if _, err := raw.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	change(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	var known *store.Error
	if _, err := store.Look(t.Context(), url, ""); !errors.As(err, &known) || !strings.Contains(known.Remedy, "newer reeve") {
		t.Errorf("a newer one: %v", err)
	}
	change(`DELETE FROM goose_db_version WHERE version_id > 1`)
	if c, err := store.Look(t.Context(), url, ""); err != nil || c.Schema != 1 || c.Known < 4 {
		t.Errorf("an older one: %+v, %v", c, err)
	}

	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte("This is a text, and no database at all."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Look(t.Context(), "sqlite:"+text, ""); !errors.As(err, &known) || !strings.Contains(known.Cause, "not an SQLite database") {
		t.Errorf("a text: %v", err)
	}
}

// TestServerThatDoesNotAnswer: as when its machine is off, or a firewall is silent. It may be
// tried again, and one is told what to look at.
func TestServerThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = store.Open(ctx, "postgres://reeve@"+silent.Addr().String()+"/reeve", store.Options{})
	var refusal *store.Error
	if !errors.As(err, &refusal) || !refusal.Away || !strings.Contains(refusal.Remedy, "see that it runs") {
		t.Errorf("%+v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := store.Open(ctx, "postgres://reeve@"+silent.Addr().String()+"/reeve", store.Options{}); !errors.Is(err, context.Canceled) || errors.As(err, &refusal) {
		t.Errorf("ended by the caller: %+v", err)
	}
}
