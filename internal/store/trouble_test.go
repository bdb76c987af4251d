package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestPostgresTroubleNames: a refusal names what is configured, and says nothing twice.
func TestPostgresTroubleNames(t *testing.T) {
	t.Setenv("PGPASSWORD", "")
	t.Setenv("PGPASSFILE", "/nowhere")
	e, _, err := newEngine("postgres://ann@127.0.0.1:1/nix", "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	for code, want := range map[string]string{"28P01": "REEVE_DATABASE_PASSWORD", "3D000": `CREATE DATABASE "nix" OWNER "ann"`} {
		if _, remedy := e.trouble(&pgconn.PgError{Code: code}); !strings.Contains(remedy, want) {
			t.Errorf("%s: %s", code, remedy)
		}
	}
	got := (&Error{Doing: "opening", URL: "u", Cause: "c", Err: errors.New("failed:\n\tdial a\n\tdial a\n\tdial b")}).Error()
	if got != "opening u: c (failed: dial a; dial b)" {
		t.Error(got)
	}
}
