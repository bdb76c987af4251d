package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// postgresEngine is a database of a PostgreSQL server, 15 or later.
type postgresEngine struct {
	address string // as configured
	config  *pgx.ConnConfig
	pool    *sql.DB
	shaping *sql.DB // while the schema is brought up to date

	mu       sync.Mutex
	columns  map[string][]uint32 // the types of a table's columns, by the table and their names
	months   map[string]bool     // partitions known to be there
	doubtful map[string]int      // by table: for how many merges one asks first which keys are there
	drops    string              // what the database said about dropped ones when months was begun
}

// These bound what may wait for the server. What it does not answer within the last
// one, or when its network is gone, fails and is tried again by whoever asked.
const (
	connectTimeout   = 15 * time.Second
	turnTimeout      = 60 * time.Second // waiting for the turn to write, or for a row that another writes
	statementTimeout = 10 * time.Minute
)

// newPostgres reads an address as libpq does: a URL, with what is missing from the
// environment (PGHOST, PGPASSWORD, PGSSLMODE, PGPASSFILE, …).
func newPostgres(address, password string) (e engine, shown string, err error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// pgx's own text may hold a part of the password.
		return nil, "", &Error{Doing: "opening the database", Cause: "its address cannot be read",
			Remedy: "write it as postgres://USER@HOST:PORT/DATABASE, with special characters as %XX; the password in database.password"}
	}
	if password != "" {
		config.Password = password
	}
	config.ConnectTimeout = connectTimeout
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6}}).DialContext
	for name, value := range map[string]string{
		"application_name":                    "reeve",
		"TimeZone":                            "UTC",
		"statement_timeout":                   fmt.Sprint(statementTimeout.Milliseconds()),
		"lock_timeout":                        fmt.Sprint(turnTimeout.Milliseconds()),
		"idle_in_transaction_session_timeout": fmt.Sprint(statementTimeout.Milliseconds()),
	} {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	where := url.URL{Scheme: "postgres", Host: net.JoinHostPort(config.Host, fmt.Sprint(config.Port)), Path: "/" + config.Database}
	if strings.HasPrefix(config.Host, "/") { // the folder of its socket
		where.Host, where.RawQuery = "", url.Values{"host": {config.Host}, "port": {fmt.Sprint(config.Port)}}.Encode()
	}
	return &postgresEngine{address: address, config: config, columns: map[string][]uint32{}, months: map[string]bool{}, doubtful: map[string]int{}}, where.String(), nil
}

func (e *postgresEngine) dir() string { return os.TempDir() }

// open connects. reeve never makes a database on a server: that is for who runs it.
func (e *postgresEngine) open(ctx context.Context, _ bool) (read *sql.DB, err error) {
	e.pool = stdlib.OpenDB(*e.config)
	e.pool.SetMaxOpenConns(16)
	e.pool.SetMaxIdleConns(8)
	e.pool.SetConnMaxIdleTime(5 * time.Minute)
	if err := e.judge(ctx, e.pool); err != nil {
		return nil, err
	}
	reading := e.config.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	read = stdlib.OpenDB(*reading)
	read.SetMaxOpenConns(16)
	read.SetMaxIdleConns(4)
	read.SetConnMaxIdleTime(5 * time.Minute)
	return read, nil
}

// oldest is the oldest version of the server that reeve is tested with.
const oldest = 15

// judge refuses a server that reeve cannot use.
func (e *postgresEngine) judge(ctx context.Context, on *sql.DB) error {
	var version int
	var name, encoding string
	if err := on.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding')`).
		Scan(&version, &name, &encoding); err != nil {
		return err
	}
	if version < oldest*10000 {
		return &Error{Doing: "opening the database", Cause: fmt.Sprintf("the server is PostgreSQL %s, and reeve needs %d or later", name, oldest),
			Remedy: "upgrade the server, or name another one in database.url"}
	}
	if encoding != "UTF8" {
		return &Error{Doing: "opening the database", Cause: fmt.Sprintf("it holds its text as %s, which has no room for all that people write", encoding),
			Remedy: "make it with ENCODING 'UTF8' TEMPLATE template0"}
	}
	return nil
}

func (e *postgresEngine) close() error {
	err := e.ready(context.Background())
	if e.pool == nil {
		return err
	}
	return errors.Join(err, e.pool.Close())
}

func (e *postgresEngine) skipLocked() string { return " FOR UPDATE SKIP LOCKED" }

func (e *postgresEngine) snapshot() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

func (*postgresEngine) tables(ctx context.Context, on *sql.DB) (ours, all int, err error) {
	return postgresTables(ctx, on)
}

func postgresTables(ctx context.Context, on *sql.DB) (ours, all int, err error) {
	err = on.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE tablename = 'goose_db_version'), count(*)
		FROM pg_tables WHERE schemaname = current_schema()`).Scan(&ours, &all)
	return ours, all, err
}

// schema gives connections on which a statement may take as long as it takes: an index on
// a large table is not made within [statementTimeout].
func (e *postgresEngine) schema(context.Context) (*sql.DB, goose.Dialect, error) {
	if e.shaping == nil {
		config := e.config.Copy()
		config.RuntimeParams["statement_timeout"] = "0"
		e.shaping = stdlib.OpenDB(*config)
	}
	return e.shaping, goose.DialectPostgres, nil
}

func (*postgresEngine) words(migrations fs.FS) fs.FS { return forPostgres{migrations} }

// ready ends what was for the schema alone.
func (e *postgresEngine) ready(context.Context) error {
	if e.shaping == nil {
		return nil
	}
	err := e.shaping.Close()
	e.shaping = nil
	return err
}

// forPostgres are migrations in which a comment /*postgres: … */ is what it says.
type forPostgres struct{ fs.FS }

func (m forPostgres) Open(name string) (fs.File, error) {
	f, err := m.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	text, err := fs.ReadFile(m.FS, name)
	if err != nil {
		return nil, err
	}
	var out []byte
	for {
		before, rest, ok := bytes.Cut(text, []byte("/*postgres:"))
		out = append(out, before...)
		if !ok {
			return &readFile{f, bytes.NewReader(out)}, nil
		}
		inside, after, _ := bytes.Cut(rest, []byte("*/"))
		out, text = append(out, inside...), after
	}
}

type readFile struct {
	fs.File
	text *bytes.Reader
}

func (f *readFile) Read(p []byte) (int, error) { return f.text.Read(p) }

// The locks by which processes take turns; the first for writing, the second for
// making partitions.
const (
	turnToWrite = 0x7265657665
	turnToShape = turnToWrite + 1
)

func (e *postgresEngine) begin(ctx context.Context, how writing) (_ session, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := e.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &postgresSession{conn: conn, ctx: context.WithoutCancel(ctx)}
	if _, err := s.exec("BEGIN"); err != nil {
		s.end(err)
		return nil, err
	}
	if err := e.lock(s, how); err != nil {
		s.rollback()
		return nil, err
	}
	return s, nil
}

// lock waits for what a transaction needs for itself: the facts before the turn, so that
// nobody has the turn while he waits for the facts, and no two wait for each other crosswise.
func (e *postgresEngine) lock(s *postgresSession, how writing) error {
	switch how {
	case beside:
		return nil
	case keeping:
		return e.keepMonths(s)
	case facing:
		if err := e.keepMonths(s); err != nil {
			return err
		}
	case dropping:
		for _, statement := range []string{"SET LOCAL lock_timeout = '10s'", fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(turnToDrop))} {
			if _, err := s.exec(statement); err != nil {
				return err
			}
		}
	}
	_, err := s.exec("SELECT pg_advisory_xact_lock($1)", int64(turnToWrite))
	return err
}

// postgresSession is a transaction on a connection of its own.
type postgresSession struct {
	conn  *sql.Conn
	ctx   context.Context
	keeps bool // see keepMonths
}

// end gives the connection back, or throws it away if it is in an unknown state.
func (s *postgresSession) end(err error) {
	if err != nil {
		s.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	s.conn.Close()
}

// commit reports what the server said: a connection that was lost here leaves open
// whether the transaction is there.
func (s *postgresSession) commit() error {
	_, err := s.exec("COMMIT")
	if err != nil {
		return err
	}
	s.end(nil)
	return nil
}

func (s *postgresSession) rollback() {
	_, err := s.exec("ROLLBACK")
	s.end(err)
}

// slack is how much longer than the server's own limit one waits for its answer.
const slack = 30 * time.Second

func (s *postgresSession) exec(query string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(s.ctx, statementTimeout+slack)
	defer cancel()
	res, err := s.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each sends all at once, so that the way to the server is gone once.
func (s *postgresSession) each(query string, args [][]any) ([]int64, error) {
	changed := make([]int64, len(args))
	ctx, cancel := context.WithTimeout(s.ctx, statementTimeout+slack)
	defer cancel()
	err := s.raw(func(c *pgx.Conn) error {
		for from := 0; from < len(args); from += maxPipeline {
			part := args[from:min(from+maxPipeline, len(args))]
			var b pgx.Batch
			for i, a := range part {
				b.Queue(query, a...).Exec(func(tag pgconn.CommandTag) error {
					changed[from+i] = tag.RowsAffected()
					return nil
				})
			}
			if err := c.SendBatch(ctx, &b).Close(); err != nil {
				return err
			}
		}
		return nil
	})
	return changed, err
}

// maxPipeline bounds the answers that wait to be read while statements are sent.
const maxPipeline = 500

func (s *postgresSession) query(query string, args ...any) (*sql.Rows, error) {
	return s.conn.QueryContext(s.ctx, query, args...)
}

func (s *postgresSession) queryRow(query string, args ...any) *sql.Row {
	return s.conn.QueryRowContext(s.ctx, query, args...)
}

// raw gives the driver's own connection.
func (s *postgresSession) raw(f func(*pgx.Conn) error) error {
	return s.conn.Raw(func(c any) error { return f(c.(*stdlib.Conn).Conn()) })
}

func (*postgresEngine) passing(err error) (away, met bool) {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		switch refusal.Code {
		case "53300", "57P01", "57P02", "57P03", "57P05":
			return true, false
		}
		return refusal.Code[:2] == "08", refusal.Code[:2] == "40"
	}
	var network *pgconn.ConnectError
	var op *net.OpError
	return errors.As(err, &network) || errors.As(err, &op) || errors.Is(err, driver.ErrBadConn) || pgconn.Timeout(err) ||
		errors.Is(err, io.ErrUnexpectedEOF), false
}

// trouble says what the server's code means; https://www.postgresql.org/docs/15/errcodes-appendix.html.
func (e *postgresEngine) trouble(err error) (cause, remedy string) {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		if away, _ := e.passing(err); away {
			return "the server cannot be reached",
				"see that it runs, that database.url names its host and port, and that no firewall is between; an import goes on by itself"
		}
		return "", ""
	}
	switch refusal.Code {
	case "28P01", "28000":
		if e.config.Password == "" {
			return "the server refuses the user, and no password is set", "give the password: REEVE_DATABASE_PASSWORD, or database.password; and look at the user in database.url"
		}
		return "the server refuses the user or the password", "look at the user in database.url and at database.password; see pg_hba.conf on the server"
	case "3D000":
		return "there is no such database", fmt.Sprintf("look at database.url, or make it: CREATE DATABASE %s OWNER %s ENCODING 'UTF8' TEMPLATE template0",
			pgx.Identifier{e.config.Database}.Sanitize(), pgx.Identifier{e.config.User}.Sanitize())
	case "42501":
		return "the user may not do this", "make the user the owner of the database or of its schema: ALTER DATABASE … OWNER TO …"
	case "25006":
		return "it cannot be written now: it is a standby, or set to read-only", "point database.url at the primary server, or end the read-only mode; an import goes on by itself"
	case "53100":
		return "there is no room left for it", "make room on the server's disk: nothing half written remains, and it goes on by itself"
	case "53300":
		return "the server has no connection free", "raise max_connections, or end other programs; one reeve uses up to 32 connections"
	case "57014":
		return fmt.Sprintf("it took more than %d minutes, or somebody has ended it on the server", int(statementTimeout.Minutes())),
			"look at the load of the server and at pg_stat_activity, and do it again"
	case "55P03":
		return "another program has held what is to be written for too long", "look at pg_stat_activity for a transaction that does not end"
	case "57P01", "57P02", "57P03", "57P05":
		return "the server is stopping, starting, or has ended the connection", "wait: an import goes on by itself; give another command again"
	case "XX001", "XX002", "58P01":
		return "a file of the server is damaged", "restore it from a backup; what the source still holds is imported again"
	}
	switch refusal.Code[:2] {
	case "08":
		return "the connection to the server is lost", "see that the server runs; an import goes on by itself"
	case "40":
		return "it met another transaction that wrote the same", "nothing: it is done again"
	case "58":
		return "the server's disk refuses to read or write", "look at the server's log and its disk"
	}
	return "", ""
}

// look leaves the database as it is.
func (e *postgresEngine) look(ctx context.Context, try bool) (c Condition, err error) {
	on := stdlib.OpenDB(*e.config)
	defer on.Close()
	if err := e.judge(ctx, on); err != nil {
		return c, err
	}
	if err := on.QueryRowContext(ctx, `SELECT 'PostgreSQL ' || current_setting('server_version'), pg_database_size(current_database())`).Scan(&c.Engine, &c.Bytes); err != nil {
		return c, err
	}
	ours, all, err := postgresTables(ctx, on)
	if err == nil {
		err = c.version(ctx, on, ours, all)
	}
	if err != nil || !try {
		return c, err
	}
	return c, tryWriting(ctx, on)
}
