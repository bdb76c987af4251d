package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/app"
	"github.com/reeve365/reeve/internal/store"
)

// importAll is the command "reeve import run --once --json", from reading its
// settings to closing its database.
func importAll(ctx context.Context, j job) (outcome, error) {
	stop, err := profile(j.Profile)
	if err != nil {
		return outcome{}, err
	}
	var out, talk bytes.Buffer
	environ := append(j.Variables, "REEVE_DATABASE_URL="+j.Database, "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true",
		"REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE=100000") // several workers share the usual 2,000, and would wait for the next minute
	began := time.Now()
	code := app.Main(ctx, []string{"import", "run", "--once", "--json"}, environ, app.Streams{In: strings.NewReader(""), Out: &out, Err: &talk})
	wall := time.Since(began)
	if err := stop(); err != nil {
		return outcome{}, err
	}
	if code != 0 {
		return outcome{}, fmt.Errorf("reeve ended with %d:\n%s", code, talk.Bytes())
	}
	var feeds []struct {
		Complete bool
		Records  int
		Bytes    int64
	}
	if err := json.Unmarshal(out.Bytes(), &feeds); err != nil {
		return outcome{}, fmt.Errorf("reading what reeve printed: %w", err)
	}
	if len(feeds) != 1 || !feeds[0].Complete {
		return outcome{}, fmt.Errorf("the import is not complete:\n%s", out.Bytes())
	}
	return outcome{Records: feeds[0].Records, Bytes: feeds[0].Bytes, Wall: wall}, nil
}

func lookup(variables []string, name string) string {
	for _, v := range variables {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// profile begins to record profiles into dir, if that is not empty; the function
// that it gives ends it.
func profile(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(filepath.Join(dir, "import.cpu.prof"))
	if err != nil {
		return nil, err
	}
	runtime.MemProfileRate = 64 << 10
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(filepath.Join(dir, "import.heap.prof"))
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		return errors.Join(cpu.Close(), pprof.WriteHeapProfile(heap), heap.Close())
	}, nil
}

// account looks for each record of the corpus in the database, by its Id.
func account(ctx context.Context, j job) (outcome, error) {
	db, err := store.Open(ctx, j.Database, store.Options{})
	if err != nil {
		return outcome{}, err
	}
	defer db.Close()
	tenant, err := db.Tenant(ctx, lookup(j.Variables, "TENANT_ID"))
	if err != nil {
		return outcome{}, err
	}
	where, err := db.Whereabouts(ctx, tenant)
	if err != nil {
		return outcome{}, err
	}
	file, err := os.Open(corpus(j.Corpus).ids())
	if err != nil {
		return outcome{}, err
	}
	defer file.Close()
	o := outcome{}
	if o.Rows, err = countRows(ctx, j.Database); err != nil {
		return o, err
	}
	seen := map[string]bool{}
	for ids := bufio.NewScanner(file); ids.Scan(); {
		id := ids.Text()
		if seen[id] {
			return o, fmt.Errorf("the Id %s was generated twice", id)
		}
		seen[id] = true
		o.Records++
		switch where(id) {
		case store.IsStored:
			o.Stored++
		case store.IsIgnored:
			o.OutOfScope++
		case store.IsQuarantined:
			o.Quarantined++
		default:
			o.Missing++
		}
	}
	return o, nil
}

// countRows counts the rows of records by the bare driver.
func countRows(ctx context.Context, address string) (n int, err error) {
	driver, name := "pgx", address
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, name = "sqlite", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM audit_events").Scan(&n)
	return n, err
}
