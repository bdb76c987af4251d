// Package storetest gives tests databases of both engines: a new one for each
// test. The PostgreSQL server is a private one, which begins with the first test
// that asks and ends with the test's program, however that ends.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	// The drivers.
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// Engines runs a test on each engine, with the address of an empty database: a file
// that is not there yet, or a new database of a server. Without PostgreSQL on this
// machine that half is skipped.
func Engines(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, PostgreSQL(t)) })
}

// SQLite gives the address of a file that is not there yet.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "reeve.db")
}

// PostgreSQL gives the address of a new database on the private server.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("PostgreSQL is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Database(t)
}

// HasPostgreSQL reports whether there is a server to test with.
func HasPostgreSQL() bool {
	_, err := find("initdb")
	return err == nil
}

// Another gives another empty database of the same engine.
func Another(t testing.TB, address string) string {
	t.Helper()
	if strings.HasPrefix(address, "sqlite:") {
		return SQLite(t)
	}
	return PostgreSQL(t)
}

// Connect connects to a database by itself, as another program does. The file of an
// SQLite database is made if it is missing.
func Connect(t testing.TB, address string) *sql.DB {
	t.Helper()
	driver, name := "pgx", address
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, name = "sqlite", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Blocked waits until somebody waits for a lock in the PostgreSQL database that raw is
// connected to, for a minute at most.
func Blocked(raw *sql.DB) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var waiting int
		err := raw.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil || waiting > 0 {
			return err
		}
	}
	return errors.New("waiting for another transaction to wait for a lock: none does within a minute")
}

// Text is all that a database on a server holds, as text.
func Text(t testing.TB, address string) string {
	t.Helper()
	db := Connect(t, address)
	rows, err := db.Query(`SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var table string
		var text sql.NullString
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow(`SELECT string_agg(t::text, chr(10)) FROM "` + table + `" t`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:\n%s\n", table, text.String)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var shared = sync.OnceValues(func() (*Server, error) { return Launch() })

// Launch starts a server that ends with this program, with settings as in
// postgresql.conf. The error matches exec.ErrNotFound if there is none on this machine.
func Launch(settings ...string) (*Server, error) {
	// The path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "reeve-postgres-")
	if err != nil {
		return nil, err
	}
	s, err := start(dir, settings...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// A Server is a running PostgreSQL server, reached over a socket in its folder.
type Server struct {
	dir   string
	admin *sql.DB

	mu   sync.Mutex
	next int
	life io.WriteCloser // ends the server when closed
	done chan error
}

// Start starts a server of the test's own, which the test may Stop and Restart.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := Launch(settings...)
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("PostgreSQL is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Close ends the server and removes all that it had. Without it the server does so itself
// when this program ends.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), s.admin.Close(), os.RemoveAll(s.dir))
}

func start(dir string, settings ...string) (*Server, error) {
	initdb, err := find("initdb")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := give(dir); err != nil {
		return nil, err
	}
	make := s.command(initdb, "-D", s.data(), "-U", "reeve", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := make.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a PostgreSQL cluster: %w\n%s", err, out)
	}
	lines := append([]string{"listen_addresses = ''", "unix_socket_directories = '" + dir + "'", "max_connections = 200",
		"fsync = off", "full_page_writes = off", "shared_buffers = '64MB'", "max_wal_size = '2GB'", "log_min_messages = fatal"}, settings...)
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = conf.WriteString(strings.Join(lines, "\n") + "\n")
	if err := errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	if s.admin, err = sql.Open("pgx", s.Address("postgres")); err != nil {
		return nil, err
	}
	s.admin.SetMaxOpenConns(4)
	return s, s.Restart()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Address is that of a database.
func (s *Server) Address(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {s.dir}, "user": {"reeve"}, "sslmode": {"disable"}}.Encode()
}

// Database makes a database, which is dropped when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	address, drop, err := s.Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { drop() }) // it is gone with the server at the latest
	return address
}

// Make makes a database, and gives the function that drops it.
func (s *Server) Make() (address string, drop func() error, err error) {
	s.mu.Lock()
	s.next++
	name := fmt.Sprintf("test%d", s.next)
	s.mu.Unlock()
	exec := func(query string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := s.admin.ExecContext(ctx, query)
		return err
	}
	return s.Address(name), func() error { return exec("DROP DATABASE " + name + " WITH (FORCE)") }, exec("CREATE DATABASE " + name + " TEMPLATE template0")
}

// PID is the number of the server's first process.
func (s *Server) PID() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(line)
}

// Exec runs a statement as the server's superuser.
func (s *Server) Exec(t testing.TB, query string) {
	t.Helper()
	if _, err := s.admin.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Restart starts a server that has been stopped, and returns when it answers.
func (s *Server) Restart() error {
	postgres, err := find("postgres")
	if err != nil {
		return err
	}
	// The shell ends the server when its input ends, which is when this program does.
	cmd := s.command("/bin/sh", "-c", `"$0" -D "$1" & server=$!; read -r how; kill -"${how:-QUIT}" $server; wait $server; [ -n "$how" ] || rm -rf "$2"`, postgres, s.data(), s.dir)
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.life, s.done = input, make(chan error, 1)
	go func() { s.done <- cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := s.admin.Ping()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not start: %w", errors.Join(err, s.Stop()))
		}
	}
}

// Stop ends the server at once, with its connections. What is committed stays.
func (s *Server) Stop() error { return s.end("INT") }

// Kill ends the server as a crash does.
func (s *Server) Kill() error { return s.end("QUIT") }

func (s *Server) end(signal string) error {
	if s.life == nil {
		return nil
	}
	_, err := io.WriteString(s.life, signal+"\n")
	s.life.Close()
	s.life = nil
	<-s.done
	return err
}

// find looks for a program of the server where Debian keeps its newest version, and in
// the path.
func find(name string) (string, error) {
	if runtime.GOOS == "windows" { // its shell and sockets are others
		return "", exec.ErrNotFound
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		slices.Sort(found)
		return found[len(found)-1], nil
	}
	return exec.LookPath(name)
}
