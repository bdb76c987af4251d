// Command bench measures reeve's import of the audit log against yardsticks: the
// same bytes downloaded and dropped, decoded and dropped, and inserted through
// the bare driver, in the same run on the same machine; against itself, in a second
// pass and by several workers; and says which bars that reaches. It fails if a single
// record is missing at the end, or there twice.
//
//	go run ./bench                             both sizes, both engines; about ten minutes
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
	own := flags.String("size", "", "another case instead: so many records in blobs of so many, as 200000/10000")
	latencies := flags.String("latencies", "0s,20ms", "how long the source takes for each answer")
	engineNames := flags.String("engines", "sqlite,postgres", "the databases to measure with")
	write := flags.String("write", "", "write the page with the results to this file")
	profiles := flags.String("profile", "", "write profiles of the last import to this folder, and what its statements took")
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
	if *own != "" {
		s := size{runs: 1}
		if _, err := fmt.Sscanf(*own, "%d/%d", &s.records, &s.blob); err != nil {
			return fmt.Errorf("reading -size %s: %w", *own, err)
		}
		cases = []size{s}
	}
	var delays []time.Duration
	for _, text := range strings.Split(*latencies, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("reading -latencies: %w", err)
		}
		delays = append(delays, d)
	}
	databases, err := engines(strings.Split(*engineNames, ","), *profiles != "")
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
		if c.latencies == nil {
			c.latencies = delays
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
		{records: 100_000, blob: 100, runs: 3},
		{records: 1_000_000, blob: 10_000, runs: 1},
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
	merge                                                 measurement // of a server alone

	// Only at the first latency:
	again    measurement // the import once more, over the same database
	together measurement // several at once into one database of a server, to be compared with alone
	alone    measurement // one, just before or after
}

// yardsticks is the sum of the three, in processor seconds for 100,000 records.
func (r round) yardsticks() float64 { return r.download.cpu() + r.decode.cpu() + r.insert.cpu() }

// beside is how fast the import is beside the bare driver, when that inserts the texts as well.
func (r round) beside() float64 { return r.imported.rate() / r.texts.rate() }

// ratio is what the import costs beside the sum of the yardsticks.
func (r round) ratio() float64 { return r.imported.cpu() / r.yardsticks() }

// ratioTexts is the same with the bare driver that inserts the texts as well.
func (r round) ratioTexts() float64 {
	return r.imported.cpu() / (r.download.cpu() + r.decode.cpu() + r.texts.cpu())
}

// besideMerge and ratioMerge are the same with the bare driver that looks for what is
// there already, as the import has to.
func (r round) besideMerge() float64 { return r.imported.rate() / r.merge.rate() }

func (r round) ratioMerge() float64 {
	return r.imported.cpu() / (r.download.cpu() + r.decode.cpu() + r.merge.cpu())
}

// second is what a second pass costs beside the first one: the greater of its shares in
// time and in processor time.
func (r round) second() float64 {
	return max(r.again.Wall.Seconds()/r.imported.Wall.Seconds(), r.again.CPU.Seconds()/r.imported.CPU.Seconds())
}

// faster is how fast several workers are beside one.
func (r round) faster() float64 { return r.together.rate() / r.alone.rate() }

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
				}{{"insert", &common.insert}, {"insert texts", &common.texts}, {"merge texts", &common.merge}} {
					if p.to == &common.merge && r.engine.server == nil {
						continue
					}
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
			j := job{Part: "import", Corpus: string(c), Variables: tenant.variables[latency]}
			var again *measurement
			if latency == 0 {
				again = &round.again
			}
			if round.imported, err = b.importAndAccount(ctx, s, r, j, 1, func() (err error) {
				r.requests, err = tenant.requests()
				return err
			}, again); err != nil {
				return nil, err
			}
			r.rounds = append(r.rounds, round)
			fmt.Fprintf(b.talk, "  at %v: ratio %.2f (%.2f with texts), %.2f of the bare driver's rate\n", r.latency, round.ratio(), round.ratioTexts(), round.beside())
			if latency == 0 && r.engine.server != nil {
				round := &r.rounds[len(r.rounds)-1]
				if err := b.compareWorkers(ctx, s, r, j, n, round); err != nil {
					return nil, err
				}
			}
		}
	}
	return results, nil
}

// part measures one part in a new folder and a new database, and removes what it leaves
// there.
func (b *bench) part(ctx context.Context, s size, e *engine, j job) (m measurement, err error) {
	err = b.inNew(j, e, func(j job) error {
		m, err = b.measured(ctx, s, e, j, 1)
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

// measured runs a job in so many processes at once.
func (b *bench) measured(ctx context.Context, s size, e *engine, j job, processes int) (measurement, error) {
	before, err := e.used()
	if err != nil {
		return measurement{}, err
	}
	m, err := measureTogether(ctx, b.exe, j, processes)
	if err != nil {
		return m, err
	}
	after, err := e.used()
	if err != nil {
		return m, err
	}
	m.Server = after - before
	m.CPU += m.Server
	name := j.Part
	if processes > 1 {
		name = fmt.Sprintf("%d × %s", processes, name)
	}
	if j.Again {
		if m.Records != 0 {
			return m, fmt.Errorf("a second pass has read %d records", m.Records)
		}
		fmt.Fprintf(b.talk, "  %-14s %8.2f s, CPU %.2f s (%.2f of the server)\n", "second pass", m.Wall.Seconds(), m.CPU.Seconds(), m.Server.Seconds())
		return m, nil
	}
	if m.Bytes < int64(s.records)*recordBytes*9/10 {
		return m, fmt.Errorf("%s saw %d bytes, too few for %d records", j.Part, m.Bytes, s.records)
	}
	if m.Records == 0 {
		m.Records = s.records // it has looked at bytes alone
	}
	if m.Records != s.records {
		return m, fmt.Errorf("%s saw %d records instead of %d", j.Part, m.Records, s.records)
	}
	fmt.Fprintf(b.talk, "  %-14s %8.0f records/s  %6.2f CPU s/100,000 (%.2f of the server)  %4d MiB\n", name, m.rate(), m.cpu(), m.Server.Seconds()/float64(m.Records)*1e5, m.Peak>>20)
	return m, nil
}

// importAndAccount measures an import by so many processes into a new database, and again
// over it if that is asked for, and then looks for every record.
func (b *bench) importAndAccount(ctx context.Context, s size, r *result, j job, processes int, ended func() error, again *measurement) (m measurement, err error) {
	e := r.engine
	err = b.inNew(j, e, func(j job) error {
		j.Profile = b.profiles
		if m, err = b.measured(ctx, s, e, j, processes); err != nil {
			return err
		}
		j.Profile = ""
		if b.profiles != "" {
			if err := e.statements(ctx, j.Database, filepath.Join(b.profiles, "import.statements")); err != nil {
				return err
			}
		}
		if err := ended(); err != nil {
			return err
		}
		if again != nil {
			j.Again = true
			if *again, err = b.measured(ctx, s, e, j, 1); err != nil {
				return err
			}
			j.Again = false
		}
		j.Part = "account"
		a, err := measure(ctx, b.exe, j)
		if err != nil {
			return err
		}
		if sum := a.Stored + a.OutOfScope + a.Quarantined; sum != s.records || a.Missing != 0 || a.Records != s.records || a.Rows != a.Stored {
			return fmt.Errorf("of %d records %d are stored, in %d rows, %d out of scope, %d in quarantine and %d missing",
				a.Records, a.Stored, a.Rows, a.OutOfScope, a.Quarantined, a.Missing)
		}
		r.database, err = e.size(ctx, j.Database)
		return err
	})
	return m, err
}

// compareWorkers measures one worker and several, each as often as in every second round
// first.
func (b *bench) compareWorkers(ctx context.Context, s size, r *result, j job, n int, to *round) error {
	for _, several := range []bool{n%2 == 0, n%2 == 1} {
		processes, m := 1, &to.alone
		if several {
			processes, m = workers, &to.together
		}
		var err error
		if *m, err = b.importAndAccount(ctx, s, r, j, processes, func() error { return nil }, nil); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.talk, "  %d workers: %.2f of the rate of one\n", workers, to.faster())
	return nil
}

// workers is how many processes are compared with one.
const workers = 4
