package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// A certificate that cannot sign in ends the command before anything is sent or
// written, and the error says what is wrong, where, and what to do.
func TestBadCertificate(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	now := time.Now()
	key, certificate := e.Client().Key, e.Client().Certificate
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pfx := writePFX(t, "right", key, certificate)
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing.pem")
	half := writePEM(t, key)
	for _, tt := range []struct {
		name, path string
		more       []string
		code       int
		says       []string
	}{
		{"missing", missing, nil, configuration, []string{"reading the certificate", missing, "no such file"}},
		{"a folder", folder, nil, configuration, []string{"reading the certificate " + folder, "is a directory"}},
		{"empty", write(t, "empty.pem", nil), nil, configuration, []string{"empty.pem: the input is empty"}},
		{"unreadable", write(t, "noise.pem", []byte("\x00\x01noise")), nil, configuration, []string{"noise.pem: the input is neither PEM text nor a PKCS#12 (PFX) file"}},
		{"truncated PFX", write(t, "half.pfx", mustRead(t, pfx)[:500]), []string{"REEVE_AUTH_CERTIFICATE_PASSWORD=right"}, configuration, []string{"half.pfx: the PFX file cannot be read"}},
		{"truncated PEM", write(t, "half.pem", mustRead(t, half)[:900]), nil, configuration, []string{"half.pem: the input"}},
		{"the certificate alone", write(t, "public.cer", certificate.Raw), nil, configuration, []string{"CN=reeve", "no private key", "use the PFX or PEM file that was made together with the key"}},
		{"the key alone", half, nil, configuration, []string{"a private key and no certificate: add the certificate"}},
		{"no password", pfx, nil, configuration, []string{pfx + ": the PFX file has a password and none was given"}},
		{"wrong password", pfx, []string{"REEVE_AUTH_CERTIFICATE_PASSWORD=wrong"}, configuration, []string{pfx + ": the password of the PFX file is wrong"}},
		{"password file missing", pfx, []string{"REEVE_AUTH_CERTIFICATE_PASSWORD_FILE=" + missing}, configuration,
			[]string{"environment variable REEVE_AUTH_CERTIFICATE_PASSWORD_FILE: auth.certificate-password", missing, "no such file"}},
		{"expired", writePEM(t, key, issue(t, "old", key, now.AddDate(-1, 0, 0), now.AddDate(0, 0, -3))), nil, signIn,
			[]string{"CN=old", "expired on " + now.AddDate(0, 0, -3).UTC().Format("2006-01-02"), "(3 days ago)", "make a new one, add it to the application"}},
		{"not yet valid", writePEM(t, key, issue(t, "young", key, now.AddDate(0, 0, 1), now.AddDate(1, 0, 0))), nil, signIn,
			[]string{"CN=young", "is not valid before " + now.AddDate(0, 0, 1).UTC().Format("2006-01-02"), "wait, or correct this machine's clock"}},
		{"EC", writePEM(t, ec, issue(t, "curve", ec, now.AddDate(0, 0, -1), now.AddDate(1, 0, 0))), nil, signIn,
			[]string{"CN=curve", "an EC key (P-256), and Entra ID accepts only RSA signatures", "make a new certificate with an RSA key"}},
		{"another's key", writePEM(t, otherKey(), certificate), nil, configuration, []string{"the private key does not belong to the certificate", "CN=reeve"}},
		{"PFX without the key's certificate", writePFX(t, "right", otherKey(), certificate, certificate), []string{"REEVE_AUTH_CERTIFICATE_PASSWORD=right"}, configuration,
			[]string{"the private key does not belong to the certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			environ := e.client(t, append(tt.more, "REEVE_AUTH_CERTIFICATE="+tt.path)...)
			o := reeve(t, environ, "import", "run", "--once")
			o.want(t, tt.code, tt.says...)
			mustNotExist(t, databasePath(environ))
			reeve(t, environ, "token").want(t, tt.code, tt.says...)
			if strings.Contains(o.err, "PRIVATE KEY") {
				t.Errorf("the error shows the file:\n%s", o.err)
			}
		})
	}
}

// What Entra ID refuses is explained: its code, cause, remedy, and whether
// waiting helps. No record is written, and the database tells of the run.
func TestRefusedSignIn(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	early := emulate(t, tenant.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	late := emulate(t, tenant.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	now := time.Now()
	const other = "11111111-2222-3333-4444-555555555555"
	stranger := issue(t, "stranger", otherKey(), now.Add(-time.Hour), now.AddDate(1, 0, 0))
	for _, tt := range []struct {
		name   string
		tenant *emulated
		more   []string
		says   []string
	}{
		{"wrong tenant", e, []string{"REEVE_TENANT_ID=" + other}, []string{"AADSTS90002", "Tenant '" + other + "' not found", "Copy the tenant ID"}},
		{"unknown application", e, []string{"REEVE_CLIENT_ID=" + other}, []string{"AADSTS700016", other, "Copy Application (client) ID"}},
		{"unknown certificate", e, []string{"REEVE_AUTH_CERTIFICATE=" + writePEM(t, otherKey(), stranger)}, []string{"AADSTS700027"}},
		{"clock behind", late, nil, []string{"AADSTS700024", "clock"}},
		{"clock ahead", early, nil, []string{"AADSTS700024", "clock"}},
		{"wrong secret", e, []string{"REEVE_AUTH_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET=nonsense"}, []string{"AADSTS7000215", "the client secret is wrong"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			environ := tt.tenant.client(t, tt.more...)
			says := append(tt.says, "\n  cause:   ", "\n  remedy:  ", "\n  waiting: ")
			reeve(t, environ, "token").want(t, signIn, says...)
			o := reeve(t, environ, "import", "run", "--once", "--json")
			o.want(t, signIn, says...)
			if o.out != "" || strings.Contains(o.err, "Finished") {
				t.Errorf("it says that something is done:\n%s\n%s", o.out, o.err)
			}
			nothingStored(t, environ, "failed")
		})
	}
}

// standing is of "import status" what these tests look at.
type standing struct {
	LastRun struct {
		Outcome, Detail string
		Stored          int
	} `json:"last_run"`
	Workloads   map[string]int
	Quarantined map[string]int
	OutOfScope  int `json:"out_of_scope"`
}

// nothingStored checks that the last run ended so, and that there is no record.
func nothingStored(t testing.TB, environ []string, result string) {
	t.Helper()
	var s standing
	reeve(t, environ, "import", "status", "--json").decode(t, &s)
	if s.LastRun.Outcome != result || s.LastRun.Detail == "" || s.LastRun.Stored+len(s.Workloads)+len(s.Quarantined)+s.OutOfScope != 0 {
		t.Errorf("status %+v", s)
	}
}

// Without consent to read the audit log every call is refused.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	if err := e.Directory.RevokeRole(e.Client().ClientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	environ := e.client(t)
	reeve(t, environ, "import", "run", "--once").want(t, signIn, "ActivityFeed.Read", "consent")
	nothingStored(t, environ, "failed")
	var got claims
	if reeve(t, environ, "token", "--claims").decode(t, &got); len(got.Roles) != 0 {
		t.Errorf("roles %q", got.Roles)
	}
	// With consent the next run goes on.
	if err := e.Directory.GrantRole(e.Client().ClientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	reeve(t, environ, "import", "run", "--once").want(t, ok, "FinishedImportCycle")
}

// A database that cannot be used ends the command with exit code 6 and a remedy,
// and is left as it is.
func TestBadDatabase(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	imported := func(t *testing.T) (environ []string, path string) {
		environ = e.client(t)
		reeve(t, environ, "import", "run", "--once").want(t, ok)
		return environ, databasePath(environ)
	}
	commands := [][]string{{"import", "run", "--once"}, {"import", "status"}, {"audit", "show", "x"}}

	t.Run("not a database", func(t *testing.T) {
		t.Parallel()
		text := []byte(strings.Repeat("Dear diary, this is no database. ", 300))
		path := write(t, "diary.txt", text)
		for _, command := range commands {
			reeve(t, e.client(t, "REEVE_DATABASE_URL=sqlite:"+path), command...).
				want(t, database, path, "is not an SQLite database", "  remedy: set database.url to another file")
		}
		if !bytes.Equal(mustRead(t, path), text) {
			t.Error("the file was changed")
		}
	})
	t.Run("newer schema", func(t *testing.T) {
		t.Parallel()
		environ, path := imported(t)
		execute(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
		before := mustRead(t, path)
		for _, command := range commands {
			reeve(t, environ, command...).want(t, database, path, "version 99999", "  remedy: run the newer reeve")
		}
		if !bytes.Equal(mustRead(t, path), before) {
			t.Error("the database was changed")
		}
	})
	t.Run("locked", func(t *testing.T) {
		t.Parallel()
		environ, path := imported(t)
		db := open(t, path)
		conn, err := db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		reeve(t, environ, "import", "run", "--once").want(t, database, path, "another program has held it locked", "  remedy: end the other program")
		// When the other has ended it goes on.
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		reeve(t, environ, "import", "run", "--once").want(t, ok)
	})
	t.Run("damaged", func(t *testing.T) {
		t.Parallel()
		environ, path := imported(t)
		content := mustRead(t, path)
		for i := 200; i < len(content); i++ { // the header stays, and says that it is a database
			content[i] = 0xa5
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		reeve(t, environ, "import", "run", "--once").want(t, database, path, "is damaged", "  remedy: restore it from a backup")
	})
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		if runtime.GOOS == "windows" {
			t.Skip("file modes do not bind on Windows")
		}
		_, path := imported(t)
		// For a user who may read the file, but not write it.
		folder := filepath.Dir(path)
		for name, mode := range map[string]os.FileMode{filepath.Dir(folder): 0o755, folder: 0o555, path: 0o444} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { os.Chmod(folder, 0o755) })
		before := mustRead(t, path)
		ca, pair := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "pair.pem")
		for from, to := range map[string]string{e.variables["CA_PEM"]: ca, e.variables["CERT_PEM"]: pair} {
			if err := os.WriteFile(to, mustRead(t, from), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		environ := e.client(t, "REEVE_DATABASE_URL=sqlite:"+path, "REEVE_CA_FILE="+ca, "REEVE_AUTH_CERTIFICATE="+pair)
		asProgram(t, "reeve-unprivileged", environ, "import", "run", "--once").
			want(t, database, path, "  remedy: ")
		if !bytes.Equal(mustRead(t, path), before) {
			t.Error("the database was changed")
		}
	})
}

// Settings that are not known, and all else that is wrong with them, come at
// once, from wherever they are.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	file := write(t, "reeve.yaml", []byte("feeds:\n  audit:\n    interval: often\n    day: 3\n"))
	environ := []string{"REEVE_CONFIG=" + file, "REEVE_LOG_LEVLE=debug", "DaysBeforeNowToDownload=many",
		"REEVE_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "reeve.db")}
	for _, command := range [][]string{{"import", "run", "--once"}, {"import", "status"}, {"token"}, {"config", "show"}, {"config", "validate"}, {"audit", "show", "x"}} {
		reeve(t, environ, append(command, "--cloud", "moon")...).want(t, configuration,
			file+`:3: feeds.audit.interval: "often": want a duration such as`,
			file+":4: feeds.audit.day: unknown key; did you mean feeds.audit.days?",
			"environment variable REEVE_LOG_LEVLE: unknown variable; did you mean REEVE_LOG_LEVEL?",
			`environment variable DaysBeforeNowToDownload: feeds.audit.days: "many"`,
			`flag --cloud: cloud: "moon": want one of`)
		mustNotExist(t, databasePath(environ))
	}
}

func open(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t testing.TB, path, statement string) {
	t.Helper()
	db := open(t, path)
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
