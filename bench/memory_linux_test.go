package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestMemory imports in a process of its own, and asks the kernel how much memory that
// holds: with one blob of 200 MB, with 100,000 blobs that wait, and all along an import of
// 10 million records, after which it may not hold more than before. Without TEST_LONG=1 it
// does so with less of each.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	exe := build(t)
	long := os.Getenv("TEST_LONG") != ""
	pick := func(short, all int) int {
		if long {
			return all
		}
		return short
	}
	for _, test := range []struct {
		name   string
		tenant tenant.Options
		fault  emulator.Fault // of the first blob
		blobs  int            // that have to be waiting at once
		stop   int            // records after which it has been long enough; 0: at the end
		step   int            // records between two looks
	}{
		{
			name: "long blob", tenant: tenant.Options{Users: 1, Days: 1, PerUser: 1},
			fault: emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Endless, Bytes: int64(pick(40, 200)) << 20, Times: 1},
		},
		{
			name: "many blobs", tenant: tenant.Options{Users: pick(40, 350), Days: 6, PerUser: 60, BlobRecords: 1, RecordBytes: 600},
			blobs: pick(4000, 100_000), step: pick(2000, 20_000),
		},
		{
			name: "many records", tenant: tenant.Options{Users: 1000, Days: 6, PerUser: pick(60, 6000), BlobRecords: 1000, RecordBytes: 600},
			stop: pick(120_000, 10_000_000), step: pick(20_000, 500_000),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			storetest.Engines(t, func(t *testing.T, address string) {
				test.tenant.Seed, test.tenant.Calm = 1, true
				tn, err := tenant.New(test.tenant)
				if err != nil {
					t.Fatal(err)
				}
				e, err := emulator.Start(emulator.Options{Tenant: tn, Calm: true})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { e.Close() })
				if test.fault.Kind != "" {
					tn.Audit.AddBlob("Audit.General", tn.Now().Add(-time.Hour), []byte("[]"))
					e.Inject(test.fault)
				}
				variables, err := e.WriteClient(filepath.Join(t.TempDir(), "client"))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				w := watchImport(t, exe, job{Part: "import", Database: address, Variables: append(variables, "REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE=100000")}, test.step, test.stop)
				for _, l := range w.looks {
					t.Logf("%12s records, %7s blobs waiting: %4d MiB", whole(float64(l.records)), whole(float64(l.waiting)), l.memory>>20)
				}
				t.Logf("at most %d MiB, with up to %s blobs waiting; %s records in %v", w.most>>20, whole(float64(w.waiting)), whole(float64(w.records)), time.Since(began).Round(time.Second))
				if w.most > mostMemory<<20 {
					t.Errorf("it has held %d MiB", w.most>>20)
				}
				if w.waiting < test.blobs {
					t.Errorf("no more than %d blobs have waited, want %d", w.waiting, test.blobs)
				}
				if w.records < test.stop {
					t.Errorf("%d records are stored, want %d", w.records, test.stop)
				}
				// The first half has had time to grow as it likes.
				half := len(w.looks) / 2
				if before, after := most(w.looks[:half]), most(w.looks[half:]); half > 2 && after > before+before/5 {
					t.Errorf("it grows: %d MiB in the first half, %d MiB in the second", before>>20, after>>20)
				}
			})
		})
	}
}

// A look is what a process held at most since the one before.
type look struct {
	records, waiting int
	memory           int64
}

func most(looks []look) (m int64) {
	for _, l := range looks {
		m = max(m, l.memory)
	}
	return m
}

type watched struct {
	looks            []look
	most             int64
	records, waiting int // stored in the end, and at most
}

// watchImport imports, and looks each time when so many more records are stored, until it
// ends or there are enough: then it is killed.
func watchImport(t *testing.T, exe string, j job, step, stop int) (w watched) {
	t.Helper()
	line, err := j.line()
	if err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, "part")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(line), &out, &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	db := storetest.Connect(t, j.Database)
	db.SetMaxOpenConns(1)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	current := look{}
	enough := false
	for n := 0; ; n++ {
		select {
		case err := <-ended:
			if err != nil && !enough {
				t.Fatalf("the import ended with %v:\n%s", err, talk.Bytes())
			}
			w.most = max(w.most, peakMemory(cmd.ProcessState))
			if !enough {
				w.records, _ = imported(db)
			}
			return w
		case <-tick.C:
		}
		memory := resident(cmd.Process.Pid)
		current.memory, w.most = max(current.memory, memory), max(w.most, memory)
		if n%5 != 0 || enough {
			continue
		}
		records, waiting := imported(db)
		w.records, w.waiting = records, max(w.waiting, waiting)
		if step > 0 && records/step > current.records/step {
			current.records, current.waiting = records, waiting
			w.looks = append(w.looks, current)
			current.memory = 0
		}
		if stop > 0 && records >= stop {
			enough = true
			cmd.Process.Kill()
		}
	}
}

// imported tells how many records are stored, and how many blobs are known and not read.
// Before there are tables it is none.
func imported(db *sql.DB) (records, waiting int) {
	db.QueryRow(`SELECT coalesce(sum(records), 0), coalesce(sum(blobs - blobs_read), 0) FROM ledger_windows`).Scan(&records, &waiting)
	return records, waiting
}

// resident is the memory that a process holds now, in bytes; 0 when it has ended.
func resident(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	fields := strings.Fields(string(text))
	i := slices.Index(fields, "VmRSS:")
	if i < 0 || i+1 >= len(fields) {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[i+1], 10, 64)
	return kib << 10
}
