package store

import (
	"context"
	"strings"
	"time"
)

// An UpgradeStep is one statement of a pending migration.
type UpgradeStep struct {
	Migration string
	Does      string
	Bytes     int64         // of the table that it has to read
	Takes     time.Duration // about
}

// readingRate is how many bytes of a table go into an index in a second, on a machine of
// two cores (docs/operate/database.md). A faster one is faster.
const readingRate = 40 << 20

// PlanUpgrade says what the pending migrations would do, and about how long it takes by
// the size of the tables.
func (db *DB) PlanUpgrade(ctx context.Context) ([]UpgradeStep, error) {
	pending, err := db.Pending(ctx)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	sizes, err := db.engine.sizes(ctx, db.read)
	if err != nil {
		return nil, db.explain("measuring", err)
	}
	bytes := map[string]int64{}
	for _, s := range sizes {
		bytes[s.Table] += s.Bytes
		if s.Of != "" {
			bytes[s.Of] += s.Bytes
		}
	}
	var steps []UpgradeStep
	for _, m := range pending {
		for _, statement := range statements(m.SQL) {
			if strings.HasPrefix(statement, "SELECT ") { // does nothing
				continue
			}
			s := UpgradeStep{Migration: m.Name}
			var table string
			s.Does, table = whatItDoes(statement)
			s.Bytes = bytes[table]
			if old, name, ok := renames(statement); ok {
				bytes[name], bytes[old] = bytes[old], 0
			}
			s.Takes = time.Duration(float64(s.Bytes) / readingRate * float64(time.Second))
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// statements gives the statements of a migration, without comments, and so without what
// is the other engine's.
func statements(text string) []string {
	for {
		before, comment, ok := strings.Cut(text, "/*")
		if !ok {
			break
		}
		_, after, _ := strings.Cut(comment, "*/")
		text = before + after
	}
	var all []string
	var statement strings.Builder
	end := func() {
		if s := strings.Join(strings.Fields(statement.String()), " "); s != "" {
			all = append(all, strings.TrimSuffix(s, ";"))
		}
		statement.Reset()
	}
	block := false // several statements that are one for goose
	for line := range strings.Lines(text) {
		code, said, _ := strings.Cut(line, "--")
		switch strings.TrimSpace(said) {
		case "+goose StatementBegin":
			block = true
		case "+goose StatementEnd":
			block = false
			end()
		}
		code = strings.TrimSpace(code)
		statement.WriteString(code + "\n")
		if !block && strings.HasSuffix(code, ";") {
			end()
		}
	}
	end()
	return all
}

// renames tells which table a statement renames.
func renames(statement string) (old, name string, ok bool) {
	w := strings.Fields(statement)
	if len(w) != 6 || !strings.EqualFold(strings.Join([]string{w[0], w[1], w[3], w[4]}, " "), "ALTER TABLE RENAME TO") {
		return "", "", false
	}
	return w[2], w[5], true
}

// whatItDoes says in a few words what a statement does, and which table it reads for it.
func whatItDoes(statement string) (does, reads string) {
	words := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(statement))
	after := func(word string) string {
		for i, w := range words[:max(len(words)-1, 0)] {
			if strings.EqualFold(w, word) {
				return words[i+1]
			}
		}
		return ""
	}
	begins := strings.ToUpper(strings.Join(words[:min(3, len(words))], " "))
	switch {
	case strings.HasPrefix(begins, "CREATE TABLE"):
		return "makes the table " + after("TABLE"), ""
	case strings.HasPrefix(begins, "CREATE INDEX"), strings.HasPrefix(begins, "CREATE UNIQUE INDEX"):
		return "makes the index " + after("INDEX") + " on " + after("ON"), after("ON")
	case strings.HasPrefix(begins, "ALTER INDEX"):
		return "changes the index " + after("INDEX"), ""
	case begins == "DO", strings.HasPrefix(begins, "DO "):
		return "runs a block of statements on the server", ""
	case strings.HasPrefix(begins, "ALTER TABLE"):
		return "changes the table " + after("TABLE"), ""
	case strings.HasPrefix(begins, "UPDATE"):
		return "changes rows of " + after("UPDATE"), after("UPDATE")
	case strings.HasPrefix(begins, "INSERT INTO"):
		return "adds rows to " + after("INTO"), after("FROM")
	case strings.HasPrefix(begins, "DELETE FROM"):
		return "deletes rows of " + after("FROM"), after("FROM")
	case strings.HasPrefix(begins, "DROP"):
		return "drops " + words[len(words)-1], ""
	}
	return statement[:min(60, len(statement))], ""
}
