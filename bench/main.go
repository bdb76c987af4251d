// Command bench measures reeve's import of the audit log against yardsticks: the
// same bytes downloaded and dropped, decoded and dropped, and inserted through
// the bare driver, in the same run on the same machine. It fails if a single
// record is missing at the end.
//
//	go run ./bench                             both sizes, both engines; about fifteen minutes
//	go run ./bench -short                      10,000 records; seconds
//	go run ./bench -write docs/benchmarks.md   writes the page as well
//
// Everything that is measured runs in a process of its own, and so does the
// emulated tenant, whose work does not count. It is no part of the product and
// changes nothing in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, talk io.Writer) error {
	if len(args) == 1 && args[0] == "part" {
		return runPart(ctx, os.Stdin, out)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(talk)
	short := flags.Bool("short", false, "only 10,000 records in blobs of 100, once, without latency")
	runs := flags.Int("runs", 0, "how often to measure (default 3 times for 100,000 records, once for 1,000,000)")
	only := flags.Int("only", 0, "only the case with so many records")
	engineNames := flags.String("engines", "sqlite,postgres", "the databases to measure with")
	write := flags.String("write", "", "write the page with the results to this file")
	profiles := flags.String("profile", "", "write profiles of the last import to this folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !measurable {
		return errors.New("this system does not say what a process has used: run it on Linux, macOS or a BSD")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cases := allCases
	if *short {
		cases = shortCases
	}
	databases, err := engines(strings.Split(*engineNames, ","))
	if err != nil {
		return err
	}
	defer closeEngines(databases)
	b := &bench{exe: exe, talk: talk, profiles: *profiles, engines: databases}
	var results []*result
	for _, c := range cases {
		if *only != 0 && *only != c.records {
			continue
		}
		if *runs > 0 {
			c.runs = *runs
		}
		found, err := b.measure(ctx, c)
		if err != nil {
			return err
		}
		results = append(results, found...)
	}
	tables := renderTables(results)
	fmt.Fprint(out, "\n", tables)
	if *write == "" {
		return nil
	}
	was, err := os.ReadFile(*write)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	page, err := renderPage(tables, string(was), time.Now())
	if err != nil {
		return err
	}
	return os.WriteFile(*write, []byte(page), 0o644)
}

// A size is a size of the audit log, to be measured at several latencies.
type size struct {
	records, blob int // in all, and in each blob
	runs          int
	latencies     []time.Duration
}

var (
	allCases = []size{
		{records: 100_000, blob: 100, runs: 3, latencies: []time.Duration{0, 20 * time.Millisecond}},
		{records: 1_000_000, blob: 10_000, runs: 1, latencies: []time.Duration{0, 20 * time.Millisecond}},
	}
	shortCases = []size{{records: 10_000, blob: 100, runs: 1, latencies: []time.Duration{0}}}
)

// A result is what was measured of one case: a size at one latency with one engine.
type result struct {
	size     size
	engine   *engine
	latency  time.Duration
	rounds   []round
	requests map[string]int // of the last import, by operation
	database int64          // its length in bytes
}

// A round is one measurement of everything.
type round struct {
	imported, download, decode, insert, texts, reflection measurement
}

// yardsticks is the sum of the three, in processor seconds for 100,000 records.
func (r round) yardsticks() float64 { return r.download.cpu() + r.decode.cpu() + r.insert.cpu() }

// beside is how fast the import is beside the bare driver, when that inserts the texts as well.
func (r round) beside() float64 { return r.imported.rate() / r.texts.rate() }

// ratio is what the import costs beside the sum of the yardsticks.
func (r round) ratio() float64 { return r.imported.cpu() / r.yardsticks() }

type bench struct {
	exe      string
	talk     io.Writer
	profiles string
	engines  []*engine
}

// measure measures one size at all its latencies.
func (b *bench) measure(ctx context.Context, s size) ([]*result, error) {
	dir, err := os.MkdirTemp("", "reeve-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := corpus(filepath.Join(dir, "corpus"))
	fmt.Fprintf(b.talk, "making %d records in blobs of %d\n", s.records, s.blob)
	if _, err := measure(ctx, b.exe, job{Part: "build", Corpus: string(c), Records: s.records, Blob: s.blob}); err != nil {
		return nil, err
	}
	tenant, err := startServer(ctx, b.exe, c, dir, s.latencies)
	if err != nil {
		return nil, err
	}
	defer tenant.Close()
	var results []*result
	for _, e := range b.engines {
		for _, latency := range s.latencies {
			results = append(results, &result{size: s, engine: e, latency: latency})
		}
	}
	// Nobody is to be the first to touch the data.
	if _, err := b.part(ctx, s, b.engines[0], job{Part: "download", Corpus: string(c), Variables: tenant.variables[0]}); err != nil {
		return nil, err
	}
	for n := range s.runs {
		fmt.Fprintf(b.talk, "%d records, run %d of %d\n", s.records, n+1, s.runs)
		var common round // what depends neither on the engine nor on the latency
		for _, p := range []struct {
			name string
			to   *measurement
		}{{"decode", &common.decode}, {"encoding/json", &common.reflection}} {
			if *p.to, err = b.part(ctx, s, b.engines[0], job{Part: p.name, Corpus: string(c)}); err != nil {
				return nil, err
			}
		}
		for i, r := range results {
			round := common
			latency := i % len(s.latencies)
			if latency == 0 {
				fmt.Fprintf(b.talk, " %s\n", r.engine.name)
				for _, p := range []struct {
					name string
					to   *measurement
				}{{"insert", &common.insert}, {"insert texts", &common.texts}} {
					if *p.to, err = b.part(ctx, s, r.engine, job{Part: p.name, Corpus: string(c)}); err != nil {
						return nil, err
					}
				}
				round = common
			}
			if round.download, err = b.part(ctx, s, r.engine, job{Part: "download", Corpus: string(c), Variables: tenant.variables[latency]}); err != nil {
				return nil, err
			}
			if _, err := tenant.requests(); err != nil {
				return nil, err
			}
			if round.imported, r.database, err = b.importAndAccount(ctx, s, r.engine, job{Corpus: string(c), Variables: tenant.variables[latency]}); err != nil {
				return nil, err
			}
			if r.requests, err = tenant.requests(); err != nil {
				return nil, err
			}
			r.rounds = append(r.rounds, round)
			fmt.Fprintf(b.talk, "  at %v: ratio %.2f, %.2f of the bare driver's rate\n", r.latency, round.ratio(), round.beside())
		}
	}
	return results, nil
}

// part measures one part in a new folder and a new database, and removes what it leaves
// there.
func (b *bench) part(ctx context.Context, s size, e *engine, j job) (m measurement, err error) {
	err = b.inNew(j, e, func(j job) error {
		m, err = b.measured(ctx, s, e, j)
		return err
	})
	return m, err
}

func (b *bench) inNew(j job, e *engine, f func(job) error) (err error) {
	if j.Dir, err = os.MkdirTemp(filepath.Dir(j.Corpus), "part-"); err != nil {
		return err
	}
	defer os.RemoveAll(j.Dir)
	var drop func() error
	if j.Database, drop, err = e.database(j.Dir); err != nil {
		return err
	}
	return errors.Join(f(j), drop())
}

func (b *bench) measured(ctx context.Context, s size, e *engine, j job) (measurement, error) {
	before, err := e.used()
	if err != nil {
		return measurement{}, err
	}
	m, err := measure(ctx, b.exe, j)
	if err != nil {
		return m, err
	}
	after, err := e.used()
	if err != nil {
		return m, err
	}
	m.CPU += after - before
	if m.Bytes < int64(s.records)*recordBytes*9/10 {
		return m, fmt.Errorf("%s saw %d bytes, too few for %d records", j.Part, m.Bytes, s.records)
	}
	if m.Records == 0 {
		m.Records = s.records // it has looked at bytes alone
	}
	if m.Records != s.records {
		return m, fmt.Errorf("%s saw %d records instead of %d", j.Part, m.Records, s.records)
	}
	fmt.Fprintf(b.talk, "  %-14s %8.0f records/s  %6.2f CPU s/100,000  %4d MiB\n", j.Part, m.rate(), m.cpu(), m.Peak>>20)
	return m, nil
}

// importAndAccount measures an import, and then looks for every record.
func (b *bench) importAndAccount(ctx context.Context, s size, e *engine, j job) (m measurement, database int64, err error) {
	err = b.inNew(j, e, func(j job) error {
		j.Part, j.Profile = "import", b.profiles
		if m, err = b.measured(ctx, s, e, j); err != nil {
			return err
		}
		j.Part = "account"
		a, err := measure(ctx, b.exe, j)
		if err != nil {
			return err
		}
		if sum := a.Stored + a.OutOfScope + a.Quarantined; sum != s.records || a.Missing != 0 || a.Records != s.records {
			return fmt.Errorf("of %d records %d are stored, %d out of scope, %d in quarantine and %d missing",
				a.Records, a.Stored, a.OutOfScope, a.Quarantined, a.Missing)
		}
		database, err = e.size(ctx, j.Database)
		return err
	})
	return m, database, err
}
