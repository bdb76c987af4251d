package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestShort measures for some seconds. The limits are far from the aims: they
// tell what is broken from what could be faster.
func TestShort(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for some seconds")
	}
	b := measuring(t)
	s := shortCases[0]
	s.records *= 3 // so that what does not depend on their number weighs less
	results, err := b.measure(t.Context(), s)
	t.Logf("%s", b.talk)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, round := range r.rounds {
			if x := round.ratio(); x > 3 {
				t.Errorf("the import into %s takes %.1f times the CPU time of the yardsticks", r.engine.name, x)
			}
			if peak := round.imported.Peak; peak > 300<<20 {
				t.Errorf("the import holds %d MiB", peak>>20)
			}
		}
		if r.requests["blob"] != r.size.records/r.size.blob {
			t.Errorf("requests %v, want %d blobs", r.requests, r.size.records/r.size.blob)
		}
	}
}

// build builds the program. A test's own one may have the race detector, which would be
// measured.
func build(t *testing.T) (exe string) {
	t.Helper()
	if !measurable {
		t.Skip("this system does not say what a process has used")
	}
	gobin, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command to build the program with")
	}
	exe = filepath.Join(t.TempDir(), "bench")
	build := exec.Command(gobin, "build", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return exe
}

// measuring gives a benchmark with the databases that there are.
func measuring(t *testing.T) *bench {
	t.Helper()
	exe := build(t)
	names := []string{"sqlite"}
	if storetest.HasPostgreSQL() && runtime.GOOS == "linux" { // elsewhere nobody says what a server has used
		names = append(names, "postgres")
	}
	databases, err := engines(names, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeEngines(databases); err != nil {
			t.Error(err)
		}
	})
	return &bench{exe: exe, talk: new(bytes.Buffer), engines: databases}
}

// TestSecondPass imports what is there already, which may cost a tenth of the first import
// with TEST_LONG=1, and with fewer records, beside which the start of the program and
// listing weigh more, a third.
func TestSecondPass(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for some seconds")
	}
	b := measuring(t)
	s, share := size{records: 20_000, blob: 100, latencies: []time.Duration{0}}, 0.33
	if os.Getenv("TEST_LONG") != "" {
		s.records, share = 100_000, 0.1
	}
	c := corpus(filepath.Join(t.TempDir(), "corpus"))
	if err := c.build(s.records, s.blob); err != nil {
		t.Fatal(err)
	}
	tenant, err := startServer(t.Context(), b.exe, c, t.TempDir(), s.latencies)
	if err != nil {
		t.Fatal(err)
	}
	defer tenant.Close()
	for _, e := range b.engines {
		if err := b.inNew(job{Part: "import", Corpus: string(c), Variables: tenant.variables[0]}, e, func(j job) error {
			// Of two later passes the cheaper one counts: beside the other the server may
			// look after what the first one has left to it.
			var passes [3]time.Duration
			for i, want := range []int{s.records, 0, 0} {
				before, err := e.used()
				if err != nil {
					return err
				}
				m, err := measure(t.Context(), b.exe, j)
				if err != nil {
					return err
				}
				after, err := e.used()
				if err != nil {
					return err
				}
				if m.Records != want {
					t.Errorf("%s: pass %d imported %d records, want %d", e.name, i+1, m.Records, want)
				}
				passes[i] = m.CPU + after - before
			}
			ratio := min(passes[1], passes[2]).Seconds() / passes[0].Seconds()
			t.Logf("%s: %s records took %v of CPU time, and further passes %v: %.3f", e.name, whole(float64(s.records)), passes[0], passes[1:], ratio)
			if ratio > share {
				t.Errorf("%s: a second pass costs %.3f of the first, want at most %.2f", e.name, ratio, share)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCorpusIsExact(t *testing.T) {
	c := corpus(t.TempDir())
	if err := c.build(2000, 20); err != nil {
		t.Fatal(err)
	}
	blobs, types := 0, map[string]bool{}
	err := c.each(func(head blobHead, body []byte) error {
		blobs++
		types[head.ContentType] = true
		var records []json.RawMessage
		if err := json.Unmarshal(body, &records); err != nil {
			return err
		}
		if len(records) != 20 {
			t.Errorf("a blob has %d records", len(records))
		}
		for _, r := range records {
			if len(r) != recordBytes {
				t.Fatalf("a record has %d bytes: %s", len(r), r)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if blobs != 100 || len(types) != 5 {
		t.Errorf("%d blobs of %d types, want 100 of 5", blobs, len(types))
	}
	if err := c.build(2000, 300); err == nil {
		t.Error("2000 records were put into blobs of 300")
	}
}

func TestAccountFindsWhatIsMissing(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	c := corpus(filepath.Join(dir, "corpus"))
	if err := c.build(100, 10); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "reeve.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const guid = "00000000-0000-0000-0000-000000000001"
	tenant, err := db.Tenant(ctx, guid)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newRowMaker(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer m.db.Close()
	// One blob of ten is stored.
	batch := db.NewBatch(tenant, "audit", "", "", 0)
	err = c.each(func(_ blobHead, body []byte) error {
		if batch.Records > 0 {
			return nil
		}
		return m.decode(body, func([]byte) (*store.Batch, error) { return batch, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	batch.Seal()
	if err := db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Store(store.Piece{Content: store.Content{Tenant: tenant, Feed: "audit"}, Batch: batch})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := account(ctx, job{Corpus: string(c), Database: "sqlite:" + filepath.Join(dir, "reeve.db"), Variables: []string{"TENANT_ID=" + guid}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcome{Records: 100, Stored: 10, Rows: 10, Missing: 90}, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
}

func TestTables(t *testing.T) {
	m := func(cpu time.Duration) measurement {
		return measurement{outcome: outcome{Records: 100_000, Wall: 5 * time.Second}, CPU: cpu, Peak: 100 << 20}
	}
	round := func(imported time.Duration) round {
		return round{imported: m(imported), download: m(time.Second), decode: m(time.Second), insert: m(2 * time.Second), texts: m(2 * time.Second), reflection: m(time.Second)}
	}
	r := &result{size: size{records: 100_000, blob: 100}, engine: &engine{name: "sqlite"}, latency: 20 * time.Millisecond,
		requests: map[string]int{"content": 1690, "blob": 1000, "token": 1}, database: 86 << 20}
	for _, imported := range []time.Duration{6 * time.Second, 4 * time.Second, 8 * time.Second} {
		r.rounds = append(r.rounds, round(imported))
	}
	tables := renderTables([]*result{r})
	const want = "| sqlite | 100,000 | 100 | 20ms | 3 | 20,000 (20,000) | 1.00 (1.00) | 6.00 (4.00) | 4.00 (4.00) | **1.50 (1.00)** | 1.50 (1.00) | 100 | 2,691 (1,690 listings, 1,000 blobs) | 86 | ratio, ratio with texts |"
	const verdict = "| processor time beside download, decode and insert | at most 1.3 | 1.50 | 1.50 | **missed** in 1 of 1: sqlite, 100,000/100, 20ms: 1.50 |"
	for _, want := range []string{want, verdict, "| rate beside insert texts | at least 0.8 | 1.00 | 1.00 | met |"} {
		if !strings.Contains(tables, want) {
			t.Errorf("there is no row\n%s\nin\n%s", want, tables)
		}
	}
	if strings.Contains(tables, "merge texts") {
		t.Errorf("there is something of merging, which was not measured, in\n%s", tables)
	}
	was, err := os.ReadFile(filepath.Join("..", "docs", "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := renderPage(tables, string(was), time.Unix(0, 0))
	if err != nil {
		t.Error(err)
	}
	// What tests have written into the page stays when it is written anew.
	section := func(page string) string {
		_, page, _ = strings.Cut(page, "## When something goes wrong")
		page, _, _ = strings.Cut(page, "## Repeating it")
		return page
	}
	if diff := cmp.Diff(section(page), section(string(was))); diff != "" || !strings.Contains(section(page), "| tokens that live 3 s |") {
		t.Errorf("docs/benchmarks.md is not what the template makes (-template +docs):\n%s", diff)
	}
}

func TestPartsRefuseNonsense(t *testing.T) {
	for _, in := range []string{"", "{}", "{}\n", "x\n", `{"Part":"rest"}` + "\n"} {
		if err := runPart(t.Context(), bytes.NewBufferString(in), io.Discard); err == nil {
			t.Errorf("a job %q was done", in)
		}
	}
}
