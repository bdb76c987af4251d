package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Checked is one thing that was looked at, or could not be.
type Checked struct {
	What   string
	State  string // ok, wrong, not checked
	Found  int64  // how much is wrong
	Text   string // what, for instance; or why it was not checked
	Remedy string // if it is wrong
}

// States of what was checked.
const (
	CheckedOK    = "ok"
	CheckedWrong = "wrong"
	NotChecked   = "not checked"
)

func (c *Checked) judge(found int64, examples ...string) {
	c.State, c.Found = CheckedOK, found
	if found > 0 {
		c.State = CheckedWrong
		c.Text = strings.Join(examples[:min(3, len(examples))], "; ")
	} else {
		c.Remedy = ""
	}
}

func (c *Checked) not(why string) { c.State, c.Text, c.Remedy = NotChecked, why, "" }

// references says which table of names a column refers to.
var references = map[string]string{
	"operation_id": "event_operations", "workload_id": "event_workloads", "user_id": "users",
	"file_extension_id": "event_file_ext", "item_type_id": "event_types",
}

// Check looks whether the database is whole, and whether its tables agree. With texts it
// also reads the text of every record. It reads all there is, which takes its time, each
// thing from one moment, while others write. tables are those that are counted. The last
// entries are what it has not looked at.
func (db *DB) Check(ctx context.Context, tables []*Table, texts bool) ([]Checked, error) {
	all, err := db.engine.integrity(ctx, db.read)
	if err != nil {
		return nil, db.explain("checking", err)
	}
	for _, check := range []func() ([]Checked, error){
		db.whole(ctx, checkColumns), db.whole(ctx, checkNames), db.whole(ctx, checkPlaces), db.whole(ctx, checkWorkloads),
		func() ([]Checked, error) { return db.checkCounts(ctx, tables) },
		db.whole(ctx, func(ctx context.Context, tx *sql.Tx) ([]Checked, error) { return checkTexts(ctx, tx, texts) }),
	} {
		found, err := check()
		if err != nil {
			return all, db.explain("checking", err)
		}
		all = append(all, found...)
	}
	journals, err := db.checkJournals(ctx)
	if err != nil {
		return all, db.explain("checking", err)
	}
	return append(all, journals, Checked{What: "whether Microsoft has records that are not here", State: NotChecked,
		Text: "the database cannot know; 'reeve import status' shows what the ledger knows"}), nil
}

// whole is a check that reads from one moment. It has a transaction of its own, since one
// that waited for other checks would be ended by the server.
func (db *DB) whole(ctx context.Context, check func(context.Context, *sql.Tx) ([]Checked, error)) func() ([]Checked, error) {
	return func() ([]Checked, error) {
		tx, err := db.patiently(ctx)
		if err != nil {
			return nil, err
		}
		defer tx.Rollback()
		return check(ctx, tx)
	}
}

func checkColumns(ctx context.Context, tx *sql.Tx) ([]Checked, error) {
	c := Checked{What: "tables and columns are those of the schema", Remedy: "restore a backup: something else has changed the tables"}
	var wrong []string
	there := map[string]bool{}
	for _, t := range declared() {
		rows, err := tx.QueryContext(ctx, `SELECT * FROM `+t.name+` WHERE 1 = 0`)
		if err != nil {
			// On PostgreSQL nothing more can be asked after an error.
			return nil, fmt.Errorf("the table %s cannot be read: %w", t.name, err)
		}
		columns, err := rows.Columns()
		if err := errors.Join(err, rows.Close()); err != nil {
			return nil, err
		}
		clear(there)
		for _, name := range columns {
			there[name] = true
		}
		for _, column := range t.columns {
			if !there[column.name] {
				wrong = append(wrong, t.name+" has no column "+column.name)
			}
		}
	}
	c.judge(int64(len(wrong)), wrong...)
	return []Checked{c}, nil
}

func checkNames(ctx context.Context, tx *sql.Tx) ([]Checked, error) {
	c := Checked{What: "names that rows refer to are there", Remedy: "restore the table of names from a backup; 'reeve audit show' still has the name of each record"}
	var found int64
	var wrong []string
	for _, t := range declared() {
		for _, column := range t.columns {
			names := references[column.name]
			if !t.facts || names == "" {
				continue
			}
			var n int64
			if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT DISTINCT %[2]s AS id FROM %[1]s WHERE %[2]s IS NOT NULL) AS used
				LEFT JOIN %[3]s n ON n.id = used.id WHERE n.id IS NULL`, t.name, column.name, names)).Scan(&n); err != nil {
				return nil, err
			}
			if found += n; n > 0 {
				wrong = append(wrong, fmt.Sprintf("%d of %s.%s are not in %s", n, t.name, column.name, names))
			}
		}
	}
	c.judge(found, wrong...)
	return []Checked{c}, nil
}

func checkPlaces(ctx context.Context, tx *sql.Tx) ([]Checked, error) {
	c := Checked{What: "the text of each record is there", Remedy: "restore a backup, if the text was not deleted on purpose"}
	var missing, outside, givenUp int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(CASE WHEN c.id IS NULL AND e.content_hash IS NULL THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN e.content_at < 0 OR e.content_len < 0 OR e.content_at + e.content_len > c.bytes THEN 1 ELSE 0 END), 0),
		(SELECT count(*) FROM schema_state WHERE name = '`+textsGivenUp+`')
		FROM audit_events e LEFT JOIN contents c ON c.tenant_id = e.tenant_id AND c.id = e.content_id`).Scan(&missing, &outside, &givenUp); err != nil {
		return nil, err
	}
	if missing > 0 && outside == 0 && givenUp > 0 { // nobody has noted of which
		c.not(fmt.Sprintf("%d records have no text; text was given up on purpose in this database (feeds.audit.raw-days), so that theirs may be, too", missing))
		return []Checked{c}, nil
	}
	c.judge(missing+outside, fmt.Sprintf("%d records without their text, %d whose place lies outside of it", missing, outside))
	return []Checked{c}, nil
}

func checkWorkloads(ctx context.Context, tx *sql.Tx) ([]Checked, error) {
	c := Checked{What: "rows of workloads have their record", Remedy: "delete those rows, or restore a backup"}
	var found int64
	var wrong []string
	for _, t := range declared() {
		if !t.facts || !t.has("event_id") || t.name == "ignored_audit_events" {
			continue
		}
		var n int64
		if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM %s m LEFT JOIN audit_events e
			ON e.tenant_id = m.tenant_id AND e.day = m.day AND e.id = m.event_id WHERE e.id IS NULL`, t.name)).Scan(&n); err != nil {
			return nil, err
		}
		if found += n; n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d of %s", n, t.name))
		}
	}
	c.judge(found, wrong...)
	return []Checked{c}, nil
}

// checkCounts compares what the import has counted with what is there, of all tenants.
func (db *DB) checkCounts(ctx context.Context, tables []*Table) ([]Checked, error) {
	tenants, err := list(ctx, db, "checking", func(rows *sql.Rows, id *int) error { return rows.Scan(id) }, `SELECT id FROM tenants ORDER BY id`)
	if err != nil {
		return nil, err
	}
	rows := Checked{What: "rows are those that the import has counted, by day",
		Remedy: "find out who wrote or deleted them ('reeve coverage verify' says more of sealed days); 'reeve import replay' makes anew rows whose text is kept; reeve leaves alone what another program wrote"}
	ledger := Checked{What: "the ledger's sums are those of its blobs and of the rows",
		Remedy: "rows or the ledger were changed by other means than reeve: see 'reeve coverage verify' for all of it, and restore a backup if it was not meant"}
	var wrong [2][]string
	for _, tenant := range tenants {
		of := ""
		if len(tenants) > 1 {
			of = fmt.Sprintf("tenant %d, ", tenant)
		}
		counted, err := db.Recount(ctx, tenant, tables, 0, 99999999)
		if err != nil {
			return nil, err
		}
		summed, err := db.Ledger(tenant, "audit").RecountLedger(ctx, time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			return nil, err
		}
		for i, found := range [][]Difference{counted, summed} {
			for _, d := range found {
				text := of + d.Text
				if d.Day > 0 {
					text = fmt.Sprintf("%s%d: %s", of, d.Day, d.Text)
				}
				wrong[i] = append(wrong[i], text)
			}
		}
	}
	rows.judge(int64(len(wrong[0])), wrong[0]...)
	ledger.judge(int64(len(wrong[1])), wrong[1]...)
	return []Checked{rows, ledger}, nil
}

// checkTexts decompresses every piece.
func checkTexts(ctx context.Context, tx *sql.Tx, wanted bool) ([]Checked, error) {
	c := Checked{What: "every text can be read", Remedy: "restore a backup"}
	if !wanted {
		c.not("that reads all of it: give --texts")
		return []Checked{c}, nil
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, bytes, data FROM contents`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found int64
	var wrong []string
	for rows.Next() {
		var id int64
		var bytes int
		var data sql.RawBytes
		if err := rows.Scan(&id, &bytes, &data); err != nil {
			return nil, err
		}
		raw, err := decompress(data)
		if err == nil && len(raw) != bytes {
			err = fmt.Errorf("it has %d bytes, and should have %d", len(raw), bytes)
		}
		if err != nil {
			if found++; len(wrong) < 3 {
				wrong = append(wrong, fmt.Sprintf("content %d: %v", id, err))
			}
		}
	}
	c.judge(found, wrong...)
	return []Checked{c}, rows.Err()
}

func (db *DB) checkJournals(ctx context.Context) (Checked, error) {
	c := Checked{What: "the journals of certificates are as they were written", Remedy: "compare with a backup: somebody has changed it by other means than reeve"}
	type owner struct {
		tenant int
		object string
	}
	owners, err := list(ctx, db, "checking", func(rows *sql.Rows, o *owner) error { return rows.Scan(&o.tenant, &o.object) },
		`SELECT DISTINCT tenant_id, object_id FROM credential_journal ORDER BY 1, 2`)
	if err != nil {
		return c, err
	}
	var wrong []string
	for _, o := range owners {
		var known *Error
		if _, err := db.CheckJournal(ctx, o.tenant, o.object); errors.As(err, &known) || ctx.Err() != nil {
			return c, err
		} else if err != nil {
			wrong = append(wrong, fmt.Sprintf("application %s: %v", o.object, err))
		}
	}
	c.judge(int64(len(wrong)), wrong...)
	return c, nil
}
