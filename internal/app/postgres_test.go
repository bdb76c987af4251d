package app_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestOnPostgreSQL runs the commands that import and look, on a server, and refuses an
// address that would show its password.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	address := storetest.PostgreSQL(t)
	e := emulate(t, tenant.Options{Users: 5, Days: 6, PerUser: 20, Calm: true})
	const canary = "canary-of-the-database"
	environ := e.client(t, "REEVE_DATABASE_URL="+address, "REEVE_DATABASE_PASSWORD="+canary, "REEVE_FEEDS_AUDIT_DAYS=6")

	var results []struct {
		Complete bool
		Stored   int
	}
	reeve(t, environ, "import", "run", "--once", "--json").decode(t, &results)
	if len(results) != 1 || !results[0].Complete || results[0].Stored < 20 {
		t.Fatalf("the first import: %+v", results)
	}
	reeve(t, environ, "import", "run", "--once", "--json").decode(t, &results)
	if !results[0].Complete || results[0].Stored != 0 {
		t.Errorf("the second import: %+v", results)
	}
	var id string
	if err := storetest.Connect(t, address).QueryRow(`SELECT id::text FROM audit_events ORDER BY id LIMIT 1`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	for text, args := range map[string][]string{id: {"audit", "show", id}, "complete": {"import", "status"}, "PostgreSQL 1": {"doctor", "--only", "database"}} {
		o := reeve(t, environ, args...)
		o.want(t, ok)
		if !strings.Contains(o.out, text) || strings.Contains(o.out+o.err, canary) {
			t.Errorf("%s lacks %s, or shows the password:\n%s%s", args, text, o.out, o.err)
		}
	}

	// Of a table that the server has not looked through nobody knows the rows, and it is said.
	raw := storetest.Connect(t, address)
	if _, err := raw.Exec(`CREATE TABLE notes (text TEXT)`); err != nil {
		t.Fatal(err)
	}
	const unknown = "-: how many rows there are is not known: the server has not looked"
	if o := reeve(t, environ, "db", "sizes"); !strings.Contains(o.out, unknown) {
		t.Errorf("%s", o.out)
	}
	if _, err := raw.Exec(`ANALYZE`); err != nil {
		t.Fatal(err)
	}
	if o := reeve(t, environ, "db", "sizes"); strings.Contains(o.out, unknown) {
		t.Errorf("%s", o.out)
	}

	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("reeve", canary)
	for _, wrong := range []struct {
		address string
		code    int
		says    string
	}{
		{u.String(), configuration, "database.password"},
		{strings.Replace(address, "/test", "/nothing", 1), database, "CREATE DATABASE"},
		{"postgres://127.0.0.1:1/reeve?sslmode=disable", database, "see that it runs"},
	} {
		refused := reeve(t, append(slices.Clone(environ), "REEVE_DATABASE_URL="+wrong.address), "import", "run", "--once")
		refused.want(t, wrong.code, wrong.says)
		if strings.Contains(refused.out+refused.err, canary) {
			t.Errorf("%s: the password is shown: %s", wrong.address, refused.err)
		}
	}
}
