package interop_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/reeve365/reeve/internal/pki"
)

var update = flag.Bool("update", false, "write the tables in docs/formats.md anew")

// table is a table of docs/formats.md: kinds of files, and who opens them.
type table struct {
	name    string // its lines stand between <!-- NAME --> and <!-- /NAME -->
	first   string // the head of its first column
	samples func(*testing.T) []sample
	open    func(consumer) func(*testing.T, []file) []opened // nil for who has no column
	wrong   []int                                            // samples whose password is then changed
}

var tables = []table{
	{"pfx", "profile", pfxSamples, func(c consumer) func(*testing.T, []file) []opened { return c.pfx }, []int{0, 21}},
	{"pem", "PEM", pemSamples, func(c consumer) func(*testing.T, []file) []opened { return c.pem }, []int{6}},
	{"certificates", "certificate", certificateSamples, func(c consumer) func(*testing.T, []file) []opened { return c.certificate }, nil},
}

// results says for each consumer that is here why it did not open a sample, or
// nothing if it did.
type results map[string][]string

// TestTable has all consumers open all files, and holds the tables in
// docs/formats.md against what they did.
func TestTable(t *testing.T) {
	if testing.Short() {
		t.Skip("programs of others take their time")
	}
	path := filepath.Join("..", "..", "..", "docs", "formats.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tb := range tables {
		t.Run(tb.name, func(t *testing.T) {
			samples := tb.samples(t)
			found := tb.run(t, samples)
			if *update {
				page = splice(t, page, tb.name, tb.render(t, samples, found))
				return
			}
			tb.check(t, page, samples, found)
		})
	}
	t.Run("profiles", func(t *testing.T) {
		needsOpenSSL3(t)
		told := renderProfiles(t)
		if *update {
			page = splice(t, page, "profiles", told)
			return
		}
		if _, lines, _ := cut(t, page, "profiles"); lines != told {
			t.Errorf("docs/formats.md tells of the profiles\n%s\nand openssl tells\n%s\nwrite it with -update", lines, told)
		}
	})
	t.Run("consumers", func(t *testing.T) {
		if *update {
			page = splice(t, page, "consumers", renderConsumers(t))
			return
		}
		_, lines, _ := cut(t, page, "consumers")
		for _, c := range consumers {
			if !strings.Contains(lines, "\n| "+c.name+" | ") {
				t.Errorf("docs/formats.md does not name %s; write it with -update", c.name)
			}
		}
	})
	if *update && !t.Failed() {
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run has the consumers open the samples.
func (tb table) run(t *testing.T, samples []sample) results {
	t.Helper()
	files := make([]file, len(samples))
	for i, s := range samples {
		files[i] = s.file
	}
	for _, i := range tb.wrong {
		f := files[i]
		f.password = wrongPassword
		files = append(files, f)
	}
	var mu sync.Mutex
	found := results{}
	t.Run("open", func(t *testing.T) {
		for _, c := range consumers {
			open := tb.open(c)
			if open == nil {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.needs(t)
				all := open(t, files)
				for range c.again {
					openAgain(t, open, samples, all)
				}
				reasons := make([]string, len(samples))
				refusesOthers := false
				for i, s := range samples {
					reasons[i] = all[i].check(s.pair)
					// Nothing is opened as the pair of another key.
					for _, other := range samples {
						if reasons[i] == "" && other.key != s.key {
							refusesOthers = true
							if all[i].check(other.pair) == "" {
								t.Errorf("%s passes for a pair of %s", describe(s), other.key)
							}
						}
					}
				}
				if !refusesOthers {
					t.Error("it opens nothing, or one kind of key alone")
				}
				for j, i := range tb.wrong {
					if all[len(samples)+j].check(samples[i].pair) == "" {
						t.Errorf("%s: opens by a wrong password", describe(samples[i]))
					}
				}
				mu.Lock()
				defer mu.Unlock()
				found[c.name] = reasons
			})
		}
	})
	return found
}

// openAgain has a consumer open anew written samples in place of those that it did
// not open.
func openAgain(t *testing.T, open func(*testing.T, []file) []opened, samples []sample, all []opened) {
	t.Helper()
	var files []file
	var of []int
	for i, s := range samples {
		if s.write != nil && all[i].check(s.pair) != "" {
			files, of = append(files, s.write(t)), append(of, i)
		}
	}
	for j, o := range open(t, files) {
		all[of[j]] = o
	}
}

func describe(s sample) string {
	return fmt.Sprintf("%s, password %s, %s", s.what, s.password, s.key)
}

// columns are the consumers of the table.
func (tb table) columns() []consumer {
	return slices.DeleteFunc(slices.Clone(consumers), func(c consumer) bool { return tb.open(c) == nil })
}

func (tb table) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | password | key |", tb.first)
	for _, c := range tb.columns() {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 3+len(tb.columns())) + "\n")
	return b.String()
}

// render renders the table. Of a kind of file with a kind of password, the key
// types with which all is the same share a row.
func (tb table) render(t *testing.T, samples []sample, found results) string {
	t.Helper()
	for _, c := range tb.columns() {
		if found[c.name] == nil {
			t.Fatalf("%s did not come to its end, so that the table cannot be written", c.name)
		}
	}
	type row struct {
		what, password, cells string
		keys                  []pki.KeyType
	}
	var rows []*row
	var notes []string
	for i, s := range samples {
		var cells strings.Builder
		for _, c := range tb.columns() {
			reason := found[c.name][i]
			if reason == "" {
				cells.WriteString(" yes |")
				continue
			}
			note := fmt.Sprintf("%s: “%s”", c.name, reason)
			n := slices.Index(notes, note)
			if n < 0 {
				n = len(notes)
				notes = append(notes, note)
			}
			fmt.Fprintf(&cells, " no (%d) |", n+1)
		}
		same := slices.IndexFunc(rows, func(r *row) bool {
			return r.what == s.what && r.password == s.password && r.cells == cells.String()
		})
		if same >= 0 {
			rows[same].keys = append(rows[same].keys, s.key)
			continue
		}
		rows = append(rows, &row{s.what, s.password, cells.String(), []pki.KeyType{s.key}})
	}
	b := bytes.NewBufferString(tb.head())
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %s |%s\n", r.what, r.password, keys(r.keys), r.cells)
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	for i, note := range notes {
		fmt.Fprintf(b, "%d. %s\n", i+1, strings.ReplaceAll(note, "|", `\|`))
	}
	return b.String()
}

func keys(of []pki.KeyType) string {
	if len(of) == len(keyTypes) {
		return "all"
	}
	names := make([]string, len(of))
	for i, k := range of {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// check checks that what the table says is so, for each consumer that is here.
func (tb table) check(t *testing.T, page []byte, samples []sample, found results) {
	t.Helper()
	_, lines, _ := cut(t, page, tb.name)
	rest, ok := strings.CutPrefix(lines, tb.head())
	if !ok {
		t.Fatalf("the table in docs/formats.md has another head; write it with -update:\n%.300s", lines)
	}
	said := map[string][]string{} // by what, password and key
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 3+len(tb.columns()) {
			t.Fatalf("a row of docs/formats.md is not one: %s", line)
		}
		of := strings.Split(cells[2], ", ")
		if cells[2] == "all" {
			of = strings.Split(keys(keyTypes[:1])+", "+keys(keyTypes[1:]), ", ")
		}
		for _, k := range of {
			said[cells[0]+"|"+cells[1]+"|"+k] = cells[3:]
		}
	}
	if len(said) != len(samples) {
		t.Errorf("docs/formats.md speaks of %d files, want %d; write it with -update", len(said), len(samples))
	}
	for i, s := range samples {
		cells := said[s.what+"|"+s.password+"|"+string(s.key)]
		if cells == nil {
			t.Errorf("docs/formats.md does not speak of %s", describe(s))
			continue
		}
		for j, c := range tb.columns() {
			if found[c.name] == nil {
				continue
			}
			if reason := found[c.name][i]; (cells[j] == "yes") != (reason == "") {
				t.Errorf("%s: docs/formats.md says %q of %s, which says %q", describe(s), cells[j], c.name, reason)
			}
		}
	}
}

// renderProfiles is what openssl tells of a file of each profile, with a chain of
// two, and of an encrypted key.
func renderProfiles(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("```text\n")
	for _, profile := range pki.Profiles() {
		data, err := pki.EncodePFX(chainedPair(t), profile, asciiPassword)
		if err != nil {
			t.Fatal(err)
		}
		c := openssl(t, asciiPassword, "pkcs12", "-info", "-noout", "-passin", "stdin", "-in", newFile(t, "reeve.pfx", data))
		told, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, told)
		}
		fmt.Fprintf(&b, "# openssl pkcs12 -info -noout -in %s.pfx\n%s\n", profile, told)
	}
	key, err := pki.EncodeKey(pairOf(t, pki.RSA2048).Key, asciiPassword)
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString("# openssl asn1parse -in encrypted.key.pem\n")
	parsed := string(must(t, command(t, "openssl", "asn1parse", "-in", newFile(t, "key.pem", key))))
	for _, m := range regexp.MustCompile(`(OBJECT|INTEGER) +:(\S+)`).FindAllStringSubmatch(parsed, -1) {
		if n, err := strconv.ParseInt(m[2], 16, 32); m[1] == "INTEGER" && err == nil {
			m[2] = fmt.Sprint(n, " rounds")
		}
		fmt.Fprintln(&b, m[2])
	}
	b.WriteString("```\n")
	return b.String()
}

func renderConsumers(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| column | version | asked by, and what shows that it opened a file |\n|---|---|---|\n")
	for _, c := range consumers {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.name, c.version(t), c.how)
	}
	return b.String()
}

// cut returns what stands before, between and after the marks of a table.
func cut(t *testing.T, page []byte, name string) (before, lines, after string) {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(string(page), begin)
	lines, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/formats.md has no lines %q and %q", begin, end)
	}
	return before + begin, lines, end + after
}

func splice(t *testing.T, page []byte, name, lines string) []byte {
	t.Helper()
	before, _, after := cut(t, page, name)
	return []byte(before + lines + after)
}
