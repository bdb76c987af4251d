package store

import (
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// A declaredTable is a table as the migrations declare it. They are the source: what a
// table or a column means is said by the comments there, and docs/schema.md is made of it.
type declaredTable struct {
	name    string
	meaning string
	since   string // the migration that made it
	columns []declaredColumn
	key     []string
	indexes []declaredIndex
	// facts says that the table has rows for records: on PostgreSQL it is partitioned by
	// month, and old months are dropped.
	facts bool
}

type declaredColumn struct {
	name, typ string
	null      bool
	meaning   string
}

type declaredIndex struct {
	name, on string // on: the columns, and the method if it is not the usual one
	unique   bool
	postgres bool // on PostgreSQL alone
}

// names says that the table holds names that rows of facts refer to.
func (t declaredTable) names() bool {
	return len(t.columns) == 2 && t.columns[0] == declaredColumn{name: "id", typ: "BIGINT"} && strings.HasSuffix(t.columns[1].name, "_name")
}

func (t declaredTable) has(column string) bool {
	return slices.ContainsFunc(t.columns, func(c declaredColumn) bool { return c.name == column })
}

// declared gives the tables in the order in which they are made.
var declared = sync.OnceValue(func() []declaredTable {
	var d declarations
	names, err := fs.Glob(migrationFiles, "*.sql")
	if err != nil {
		panic(err) // They are a part of the program.
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrationFiles, name)
		if err != nil {
			panic(err)
		}
		before := len(d.tables)
		d.read(name, upOf(string(text)))
		// What a migration is for is said at its head, which is meant for its first table.
		if len(d.tables) > before && d.tables[before].meaning == "" {
			d.tables[before].meaning = headOf(string(text))
		}
	}
	return d.tables
})

// headOf is the comment that a migration begins with.
func headOf(text string) string {
	text, _, _ = strings.Cut(text, "-- +goose Up\n")
	var words []string
	for line := range strings.Lines(text) {
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "--"))...)
	}
	return strings.Join(words, " ")
}

// upOf is what a migration does, without how it would be undone.
func upOf(text string) string {
	_, text, _ = strings.Cut(text, "-- +goose Up\n")
	text, _, _ = strings.Cut(text, "-- +goose Down")
	return strings.TrimSpace(text)
}

// declarations reads migrations: those statements that they have, laid out as they are, a
// column in each line. What it does not understand it passes over; a test compares what
// was read with the tables of a real database.
type declarations struct{ tables []declaredTable }

func (d *declarations) table(name string) *declaredTable {
	for i := range d.tables {
		if d.tables[i].name == name {
			return &d.tables[i]
		}
	}
	return &declaredTable{}
}

func (d *declarations) read(migration, text string) {
	var comment []string
	var in *declaredTable // whose columns are being read
	for line := range strings.Lines(text) {
		code, said, _ := strings.Cut(strings.TrimSpace(line), "--")
		code, said = strings.TrimSpace(code), strings.TrimSpace(said)
		postgres := strings.HasPrefix(code, "/*postgres:")
		if postgres {
			code = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(code, "/*postgres:"), "*/"))
		}
		words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ", ";", " ").Replace(code))
		at := func(i int) string {
			if i < len(words) {
				return words[i]
			}
			return ""
		}
		switch {
		case in != nil && strings.HasPrefix(code, ")"):
			// Texts are parted by the day on which they came, and are no facts.
			in.facts = strings.Contains(code, "PARTITION BY RANGE (day)") && in.name != "contents"
			in = nil
		case in != nil && code == "":
			if n := len(in.columns); n > 0 && said != "" { // goes on from the line before
				in.columns[n-1].meaning = strings.TrimSpace(in.columns[n-1].meaning + " " + said)
			}
		case in != nil:
			in.part(code, said)
		case code == "" && said == "":
			comment = nil
		case code == "":
			comment = append(comment, said)
		case at(0) == "CREATE" && at(1) == "TABLE":
			d.tables = append(d.tables, declaredTable{name: at(2), meaning: strings.Join(comment, " "), since: migration})
			in = &d.tables[len(d.tables)-1]
			if inside, ok := strings.CutSuffix(code, ");"); ok { // all of it in one line
				_, inside, _ = strings.Cut(inside, "(")
				for _, part := range strings.Split(inside, ", ") {
					in.part(part, "")
				}
				in = nil
			}
			comment = nil
		case at(0) == "CREATE" && slices.Contains(words, "INDEX"):
			i, on := slices.Index(words, "INDEX"), slices.Index(words, "ON")
			_, rest, _ := strings.Cut(code, " ON "+at(on+1)+" ")
			rest = strings.TrimSuffix(strings.TrimSpace(rest), ";")
			t := d.table(at(on + 1))
			t.indexes = append(t.indexes, declaredIndex{name: at(i + 1), on: rest, unique: at(1) == "UNIQUE", postgres: postgres})
			comment = nil
		case at(0) == "ALTER" && at(3) == "ADD" && at(4) == "COLUMN":
			_, definition, _ := strings.Cut(code, "ADD COLUMN ")
			if said == "" {
				said = strings.Join(comment, " ")
			}
			d.table(at(2)).part(strings.TrimSuffix(definition, ";"), said)
			comment = nil
		case at(0) == "ALTER" && at(1) == "TABLE" && at(3) == "RENAME" && at(4) == "TO":
			d.table(at(2)).name = at(5)
		case at(0) == "ALTER" && at(3) == "DROP" && at(4) == "COLUMN":
			t := d.table(at(2))
			t.columns = slices.DeleteFunc(t.columns, func(c declaredColumn) bool { return c.name == at(5) })
		case at(0) == "DROP" && at(1) == "TABLE":
			d.tables = slices.DeleteFunc(d.tables, func(t declaredTable) bool { return t.name == words[len(words)-1] })
		case at(0) == "DROP" && at(1) == "INDEX":
			for i := range d.tables {
				d.tables[i].indexes = slices.DeleteFunc(d.tables[i].indexes, func(x declaredIndex) bool { return x.name == words[len(words)-1] })
			}
		default:
			comment = nil
		}
	}
}

// part reads a line of a table's declaration: a column, or its key.
func (t *declaredTable) part(code, said string) {
	code = strings.TrimSuffix(strings.TrimSpace(code), ",")
	if columns, ok := strings.CutPrefix(code, "PRIMARY KEY ("); ok {
		t.key = strings.Split(strings.TrimSuffix(columns, ")"), ", ")
		return
	}
	words := strings.Fields(code)
	switch {
	case len(words) < 2 || slices.Contains([]string{"UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT"}, words[0]):
		return
	case strings.Contains(code, "PRIMARY KEY"):
		t.key = []string{words[0]}
	}
	t.columns = append(t.columns, declaredColumn{name: words[0], typ: words[1], meaning: said,
		null: !strings.Contains(code, "NOT NULL") && !strings.Contains(code, "PRIMARY KEY")})
}
