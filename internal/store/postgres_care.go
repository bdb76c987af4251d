package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

func (e *postgresEngine) condition(ctx context.Context, read *sql.DB, s *Status) error {
	s.Connections, s.Reeves = new(int), new(int)
	if err := read.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE application_name = 'reeve')
		FROM pg_stat_activity WHERE datname = current_database()`).Scan(s.Connections, s.Reeves); err != nil {
		return err
	}
	var o OpenTransaction
	err := read.QueryRowContext(ctx, `SELECT xact_start, pid, coalesce(application_name, ''), coalesce(state, '') FROM pg_stat_activity
		WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1`).
		Scan(&o.Since, &o.Process, &o.Program, &o.State)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	o.Since = o.Since.UTC()
	s.Oldest = &o
	return err
}

func (e *postgresEngine) sizes(ctx context.Context, read *sql.DB) ([]Size, error) {
	rows, err := read.QueryContext(ctx, `SELECT c.relname, coalesce(p.relname, ''), c.reltuples::bigint, pg_table_size(c.oid), pg_indexes_size(c.oid)
		FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
		WHERE c.relkind = 'r' AND c.relnamespace = quote_ident(current_schema())::regnamespace
		ORDER BY pg_total_relation_size(c.oid) DESC, c.relname`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Size
	for rows.Next() {
		var s Size
		if err := rows.Scan(&s.Table, &s.Of, &s.Rows, &s.Bytes, &s.Indexes); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// integrity looks at the indexes, one after another, each as long as a statement may take.
func (e *postgresEngine) integrity(ctx context.Context, read *sql.DB) ([]Checked, error) {
	c := Checked{What: "the indexes (amcheck)", Remedy: "REINDEX the index; if it comes back, look at the server's disk and restore a backup"}
	var in string
	err := read.QueryRowContext(ctx, `SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'`).Scan(&in)
	if errors.Is(err, sql.ErrNoRows) {
		c.not("the extension amcheck is not in this database: CREATE EXTENSION amcheck, and GRANT EXECUTE ON FUNCTION bt_index_check(regclass) to reeve's user")
		return []Checked{c}, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := read.QueryContext(ctx, `SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND c.relnamespace = quote_ident(current_schema())::regnamespace ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var wrong, left []string
	for _, name := range names {
		_, err := read.ExecContext(ctx, `SELECT `+in+`.bt_index_check(quote_ident($1)::regclass)`, name)
		var refusal *pgconn.PgError
		switch {
		case err == nil:
		case errors.As(err, &refusal) && (refusal.Code == "42501" || refusal.Code == "57014" || refusal.Code == "55P03" || refusal.Code == "25006"):
			left = append(left, fmt.Sprintf("%s: %s", name, refusal.Message))
		case errors.As(err, &refusal):
			wrong = append(wrong, fmt.Sprintf("%s: %s", name, refusal.Message))
		default:
			return nil, err
		}
	}
	var all []Checked
	if len(left) < len(names) || len(left) == 0 { // else nothing was looked at
		if len(left) > 0 {
			c.What = fmt.Sprintf("%d of %d indexes (amcheck)", len(names)-len(left), len(names))
		}
		c.judge(int64(len(wrong)), wrong...)
		all = append(all, c)
	}
	if len(left) > 0 {
		rest := Checked{What: fmt.Sprintf("%d of %d indexes (amcheck)", len(left), len(names))}
		rest.not(left[0])
		all = append(all, rest)
	}
	return all, nil
}

// tool finds a program of PostgreSQL's: in the path, or where Debian keeps them.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", ErrNoTool
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

// libpq is the address as PostgreSQL's own programs take it: without the password, which
// would be seen in the list of processes, and without what the driver alone knows.
func (e *postgresEngine) libpq() string {
	u, err := url.Parse(e.address)
	if err != nil {
		return "dbname=" + e.config.Database // it was read before
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	for name := range q {
		known := strings.HasPrefix(name, "ssl") && name != "sslpassword" || strings.HasPrefix(name, "keepalives") ||
			slices.Contains([]string{"host", "hostaddr", "port", "user", "dbname", "passfile", "connect_timeout", "options", "service", "channel_binding",
				"gssencmode", "krbsrvname", "target_session_attrs", "tcp_user_timeout"}, name)
		if !known {
			q.Del(name)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// program prepares one of PostgreSQL's programs for this database.
func (e *postgresEngine) program(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = os.Environ()
	if e.config.Password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+e.config.Password)
	}
	return cmd
}

// complaint is what a program said about its failure: its first lines.
func complaint(name string, err error, stderr []byte) error {
	lines := strings.SplitN(strings.TrimSpace(string(stderr)), "\n", 3)
	if len(lines) > 2 {
		lines = lines[:2]
	}
	return fmt.Errorf("%s: %w: %s", name, err, strings.Join(lines, "; "))
}

func (e *postgresEngine) backup(ctx context.Context, file string) (c Copy, err error) {
	conn, err := e.pool.Conn(ctx)
	if err != nil {
		return c, err
	}
	defer conn.Close()
	// What is counted and what is dumped is of one moment.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return c, err
	}
	defer tx.Rollback()
	var moment, schema string
	if err := tx.QueryRowContext(ctx, `SELECT pg_export_snapshot(), quote_ident(current_schema())`).Scan(&moment, &schema); err != nil {
		return c, err
	}
	args := []string{"--format=custom", "--table=" + schema + ".*", "--file=" + file, "--dbname=" + e.libpq()}
	dump, err := tool("pg_dump")
	if err != nil {
		return c, &Error{Doing: "backing up", Cause: "pg_dump is not installed here", Err: err,
			Remedy: "install PostgreSQL's client programs (Debian: postgresql-client), or run where they are: pg_dump '" + strings.Join(args, "' '") + "'"}
	}
	counts, err := countTables(ctx, tx)
	if err != nil {
		return c, err
	}
	part, err := newFile(file)
	if err != nil {
		return c, err
	}
	defer os.Remove(part)
	args[2] = "--file=" + part
	var said bytes.Buffer
	cmd := e.program(ctx, dump, append(args, "--snapshot="+moment)...)
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return c, complaint("pg_dump", err, said.Bytes())
	}
	if c, err = e.copyOf(ctx, part); err != nil {
		return c, err
	}
	for name, n := range counts {
		if c.Tables[name] != n {
			return c, fmt.Errorf("the table %s has %d rows, and the copy %d", name, n, c.Tables[name])
		}
	}
	c.File = file
	return c, settle(part, file)
}

// countTables counts the rows of every table and partition.
func countTables(ctx context.Context, tx *sql.Tx) (map[string]int64, error) {
	if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = quote_ident(current_schema())::regnamespace`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int64{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		counts[name] = 0
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for name := range counts {
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM `+pgx.Identifier{name}.Sanitize()).Scan(&n); err != nil {
			return nil, err
		}
		counts[name] = n
	}
	return counts, nil
}

// copyOf has pg_restore read the whole of a dump, and counts the rows that come out.
func (e *postgresEngine) copyOf(ctx context.Context, file string) (c Copy, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return c, err
	}
	c = Copy{File: file, Bytes: info.Size(), Tables: map[string]int64{}}
	restore, err := tool("pg_restore")
	if err != nil {
		return c, &Error{Doing: "reading a backup for", Cause: "pg_restore is not installed here", Err: err,
			Remedy: "install PostgreSQL's client programs (Debian: postgresql-client)"}
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, restore, "--data-only", "--file=-", file)
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return c, err
	}
	if err := cmd.Start(); err != nil {
		return c, err
	}
	err = c.count(out)
	if err != nil {
		io.Copy(io.Discard, out) // so that it ends
	}
	if failed := cmd.Wait(); failed != nil {
		return c, complaint("pg_restore", failed, said.Bytes())
	}
	return c, err
}

// count counts the rows of a dump's script: what stands between COPY and \.
func (c *Copy) count(script io.Reader) error {
	lines := bufio.NewReaderSize(script, 1<<20)
	table, begun := "", true  // begun: at the beginning of a line
	version, tenant := -1, -1 // the columns of the table that hold them
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && begun {
			switch text := strings.TrimRight(string(line[:min(len(line), 4096)]), "\n"); {
			case table == "" && strings.HasPrefix(text, "COPY "):
				name, columns, _ := strings.Cut(strings.TrimPrefix(text, "COPY "), " (")
				table = strings.Trim(name[strings.LastIndex(name, ".")+1:], `"`)
				c.Tables[table] += 0
				columns, _, _ = strings.Cut(columns, ")")
				version, tenant = -1, -1
				switch table {
				case "goose_db_version":
					version = slices.Index(strings.Split(columns, ", "), "version_id")
				case "tenants":
					tenant = slices.Index(strings.Split(columns, ", "), "tenant_guid")
				}
			case table != "" && text == `\.`:
				table = ""
			case table != "":
				c.Tables[table]++
				if version < 0 && tenant < 0 {
					break
				}
				fields := strings.Split(text, "\t")
				if version >= 0 && version < len(fields) {
					if n, err := strconv.ParseInt(fields[version], 10, 64); err == nil {
						c.Schema = max(c.Schema, n)
					}
				}
				if tenant >= 0 && tenant < len(fields) {
					c.Tenants = append(c.Tenants, fields[tenant])
				}
			}
		}
		begun = !errors.Is(err, bufio.ErrBufferFull)
		switch {
		case errors.Is(err, io.EOF) && table != "":
			return fmt.Errorf("%s ends in the middle of the table %s", c.File, table)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && begun:
			return err
		}
	}
}

// restore moves what is there into a schema of another name and runs the dump's script, in
// one transaction: it is there whole or not at all.
func (e *postgresEngine) restore(ctx context.Context, file string, now time.Time) (aside string, err error) {
	psql, err := tool("psql")
	if err != nil {
		return "", &Error{Doing: "restoring", Cause: "psql is not installed here", Err: err, Remedy: "install PostgreSQL's client programs (Debian: postgresql-client)"}
	}
	pgRestore, err := tool("pg_restore")
	if err != nil {
		return "", err
	}
	on := stdlib.OpenDB(*e.config)
	defer on.Close()
	on.SetMaxOpenConns(1)
	if err := e.judge(ctx, on); err != nil {
		return "", err
	}
	var schema string
	var tables, others int
	if err := on.QueryRowContext(ctx, `SELECT current_schema(), (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace = quote_ident(current_schema())::regnamespace),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'reeve' AND pid <> pg_backend_pid())`).
		Scan(&schema, &tables, &others); err != nil {
		return "", err
	}
	if others > 0 {
		return "", inUse("restoring", "another reeve")
	}
	begin := "BEGIN;\n"
	if tables > 0 {
		aside = schema + "_before_" + now.UTC().Format("20060102t150405")
		name := pgx.Identifier{schema}.Sanitize()
		begin += fmt.Sprintf("ALTER SCHEMA %s RENAME TO %s;\nCREATE SCHEMA %s;\n", name, pgx.Identifier{aside}.Sanitize(), name)
	}
	var said, wrong bytes.Buffer
	source := exec.CommandContext(ctx, pgRestore, "--no-owner", "--no-privileges", "--exit-on-error", "--file=-", file)
	source.Stderr = &said
	script, err := source.StdoutPipe()
	if err != nil {
		return "", err
	}
	run := e.program(ctx, psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output="+os.DevNull, "--file=-", "--dbname="+e.libpq())
	run.Stderr = &wrong
	into, err := run.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := run.Start(); err != nil {
		return "", err
	}
	if err := source.Start(); err != nil {
		into.Close()
		return "", errors.Join(err, run.Wait())
	}
	_, broken := io.WriteString(into, begin)
	if broken == nil {
		_, broken = io.Copy(into, script)
	}
	if broken != nil {
		io.Copy(io.Discard, script) // so that it ends
	}
	failed := source.Wait()
	if failed == nil && broken == nil { // else all of it is taken back
		_, broken = io.WriteString(into, "\nCOMMIT;\n")
	}
	into.Close()
	switch err := run.Wait(); {
	case failed != nil:
		return "", complaint("pg_restore", failed, said.Bytes())
	case err != nil:
		return "", complaint("psql", err, wrong.Bytes())
	case broken != nil:
		return "", broken
	}
	return aside, nil
}

// replaceView keeps who may read the view.
func (e *postgresEngine) replaceView(tx *Tx, name, create string) error {
	rows, err := tx.query(`SELECT 'GRANT ' || a.privilege_type || ' ON ' || c.oid::regclass || ' TO ' || CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
		FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner`, name)
	if err != nil {
		return err
	}
	defer rows.Close()
	var grants []string
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return err
		}
		grants = append(grants, grant)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if _, err := tx.exec("DROP VIEW IF EXISTS " + name); err != nil {
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code == "2BP01" {
			return &DependsError{View: name, Detail: strings.ReplaceAll(refusal.Detail, "\n", "; ")}
		}
		return err
	}
	for _, statement := range append([]string{create}, grants...) {
		if _, err := tx.exec(statement); err != nil {
			return err
		}
	}
	return nil
}

func (*postgresEngine) patience(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0")
	return err
}

// before keeps the month in which the time is: only whole months go.
func (*postgresEngine) before(older time.Time) int { return Day(older)/100*100 + 1 }

// turnToDrop is held by each transaction that writes facts, shared, and for itself by one
// that drops a month or deletes of a day: so a month that is known to be there stays until
// the end of the transaction, and nothing is added to a day while it goes.
const turnToDrop = turnToWrite + 2

// keepMonths sees to it that no month is dropped before the transaction ends, and forgets
// what was dropped by another process.
func (e *postgresEngine) keepMonths(s *postgresSession) error {
	if s.keeps {
		return nil
	}
	var got bool
	if err := s.queryRow("SELECT pg_try_advisory_xact_lock_shared($1)", int64(turnToDrop)).Scan(&got); err != nil {
		return err
	}
	if !got { // somebody drops, or waits for that: for longer than a turn, where readers hold him up
		for _, statement := range []string{"SET LOCAL lock_timeout = 0", fmt.Sprintf("SELECT pg_advisory_xact_lock_shared(%d)", int64(turnToDrop)),
			"SET LOCAL lock_timeout = '" + strings.ReplaceAll(e.config.RuntimeParams["lock_timeout"], "'", "''") + "'"} {
			if _, err := s.exec(statement); err != nil {
				return err
			}
		}
	}
	var drops string
	if err := s.queryRow(`SELECT coalesce(max(value), '') FROM schema_state WHERE name = 'drops'`).Scan(&drops); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drops != drops {
		clear(e.months)
		e.drops = drops
	}
	s.keeps = true
	return nil
}

// countDrop is by what others know that a month is gone.
const countDrop = `INSERT INTO schema_state (name, value) VALUES ('drops', '1')
	ON CONFLICT (name) DO UPDATE SET value = (schema_state.value::bigint + 1)::text`

// dropMonth drops the partitions. It holds off readers for as long as it takes to drop some
// tables, and gives way to those who have read for long.
func (e *postgresEngine) dropMonth(tx *Tx, tenant, month int) (dropped bool, err error) {
	p := monthOf(month)
	var tables []string
	for _, t := range declared() {
		if !t.facts {
			continue
		}
		name := t.name + "_" + p.name
		var is, others bool
		if err := tx.queryRow(`SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = $2::regclass)`, name, t.name).Scan(&is); err != nil {
			return false, err
		}
		if !is {
			continue
		}
		tables = append(tables, name)
		if err := tx.queryRow(`SELECT coalesce(min(tenant_id), $1) <> $1 OR coalesce(max(tenant_id), $1) <> $1 FROM `+name, tenant).Scan(&others); err != nil || others {
			return false, err
		}
	}
	if len(tables) == 0 {
		return false, nil
	}
	for _, statement := range []string{"DROP TABLE " + strings.Join(tables, ", "), countDrop} {
		if _, err := tx.exec(statement); err != nil {
			return false, err
		}
	}
	return true, nil
}
