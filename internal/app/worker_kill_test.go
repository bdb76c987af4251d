//go:build unix

package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestWorkersAreKilled kills processes that import with SIGKILL, at moments that a seed
// draws: four on PostgreSQL, whose server is stopped and crashes as well, and one on
// SQLite. The tenant throttles, its blobs come late, twice and out of order, and some are
// cut off or fail. In the end each record is there, and once.
//
// With TEST_LONG=1 there are 1,000 blows on each engine, in rounds that begin with an
// empty database and another, larger tenant, two rounds at a time.
func TestWorkersAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	t.Parallel()
	kills, lanes, users, seed := 12, 1, 15, uint64(1)
	if os.Getenv("TEST_LONG") != "" {
		kills, lanes, users = 1000, 2, 120
	}
	if n, err := strconv.ParseUint(os.Getenv("TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	bin := buildReeve(t)
	for _, engine := range []string{"sqlite", "postgres"} {
		for lane := range lanes {
			t.Run(fmt.Sprint(engine, " ", lane+1), func(t *testing.T) {
				t.Parallel()
				if engine == "postgres" && !storetest.HasPostgreSQL() {
					t.Skip("PostgreSQL is not installed")
				}
				left := kills / lanes
				for round := seed + uint64(100*lane); left > 0; round++ {
					t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
						left -= killWorkers(t, bin, engine, round, left, users)
					})
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// killWorkers is one round of up to so many blows, and gives their number.
func killWorkers(t *testing.T, bin, engine string, seed uint64, most, users int) (kills int) {
	var server *storetest.Server
	address, left, processes := storetest.SQLite(t), storetest.SQLite(t), 1
	if engine == "postgres" {
		server = storetest.Start(t)
		address, left, processes = server.Database(t), server.Database(t), 4
	}
	random := rand.New(rand.NewPCG(seed, 7))
	w := newWorked(t, bin, address, tenant.Options{Seed: seed, Users: users, Days: 4, PerUser: 60, BlobRecords: 10}, emulator.Options{
		Seed: seed, ActivityLimit: 6000, Latency: 5 * time.Millisecond,
		Faults: []emulator.Fault{
			{API: "manage", Operation: "blob", Kind: emulator.Truncated, Every: 23},
			{API: "manage", Operation: "blob", Kind: emulator.ServerError, Every: 31},
			{API: "manage", Operation: "blob", Kind: emulator.AF429, Every: 97, Times: 2},
			{API: "manage", Operation: "content", Kind: emulator.ResetBody, Every: 37},
		},
	}, "REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE=60000")
	before := time.Now()
	running := make([]*doomed, processes)
	for i := range running {
		running[i] = w.start()
	}
	blows, crashes := min(most, 60), 0
	for kills < blows {
		// One blow in ten falls while a program starts, the others after so many blobs.
		if goal := w.done() + random.IntN(30); random.IntN(10) > 0 {
			w.await(3*time.Second, func() bool { return w.done() >= goal })
		}
		<-time.After(time.Duration(random.IntN(300)) * time.Millisecond)
		if server != nil && random.IntN(12) == 0 {
			crashes++
			end := server.Stop
			if random.IntN(2) == 0 {
				end = server.Kill
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		i := random.IntN(processes)
		running[i].kill()
		kills++
		running[i] = w.start()
		if s := w.standing(); s.done > 0 && s.due <= s.done/50 {
			break // what is left has failed often, or the dead hold it: blows would fall on the idle
		}
	}
	at, ended := w.standing(), time.Now()
	// One that imports everything, beside those that serve; then they end.
	for range 5 {
		if w.once() == exitOK {
			break
		}
	}
	for _, r := range running {
		r.end()
	}
	w.judge(before)
	after, n := time.Since(ended), w.downloads()
	same := w.compare(left, before)
	t.Logf("%s: %d blows in %v and %d restarts of the server, with %d blobs read and %d due at the last one; %v later %+v, downloaded %d times; %d rows are those of an import that was left alone", engine,
		kills, ended.Sub(before).Round(time.Second), crashes, at.done, at.due, after.Round(time.Second), w.standing(), n, same)
	return kills
}

// TestWorkersShareTheWork: four processes over one database read each blob about once,
// and store each record once.
func TestWorkersShareTheWork(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	address := storetest.PostgreSQL(t)
	w := newWorked(t, buildReeve(t), address, tenant.Options{Seed: 5, Users: 20, Days: 4, PerUser: 60, BlobRecords: 10, Calm: true}, emulator.Options{Calm: true, Latency: 100 * time.Millisecond},
		"REEVE_FEEDS_AUDIT_CONCURRENCY=2")
	before := time.Now()
	running := make([]*doomed, 4)
	for i := range running {
		running[i] = w.start()
	}
	w.until("everything to be imported", 3*time.Minute, func() bool {
		done := 0
		for _, r := range running {
			if strings.Contains(r.err.String(), "FinishedImportCycle") {
				done++
			}
		}
		return done == len(running)
	})
	workers, err := w.db.Workers(t.Context(), 1)
	if err != nil || len(workers) != len(running) {
		t.Errorf("%v, %v; want %d workers", workers, err, len(running))
	}
	s := w.standing()
	n, busy := w.downloads(), 0
	for _, r := range running {
		if regexp.MustCompile(`stats\.blobs=[1-9]`).MatchString(r.err.String()) {
			busy++
		}
		r.end()
	}
	w.judge(before)
	t.Logf("%d blobs, downloaded %d times: %.3f; %d of the processes took part", s.done, n, float64(n)/float64(s.done), busy)
	if busy < len(running) {
		t.Errorf("%d of %d processes took part", busy, len(running))
	}
	if n > s.done+s.done/50 {
		t.Errorf("%d blobs were downloaded %d times", s.done, n)
	}
	if workers, err := w.db.Workers(t.Context(), 1); err != nil || len(workers) != 0 {
		t.Errorf("after the end there are %v, %v", workers, err)
	}
}

// TestDatabaseRefuses takes the database away from a process that imports, in each way that
// passes: what is said, once, and where; and that it goes on by itself with nothing lost.
// With TEST_LONG=1 a server is stopped for ten minutes.
func TestDatabaseRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	bin := buildReeve(t)
	stopped := time.Second
	if os.Getenv("TEST_LONG") != "" {
		stopped = 10 * time.Minute
	}
	sql := func(server *storetest.Server, statements ...string) func(*testing.T) {
		return func(t *testing.T) {
			for _, statement := range statements {
				server.Exec(t, statement)
			}
		}
	}
	for name, trouble := range map[string]struct {
		postgres bool
		disk     string // how a disk of its own is made small; empty for none
		ways     func(server *storetest.Server, disk string) (begin, end func(*testing.T))
		lasts    time.Duration
		cause    string // as a pattern
		unread   bool   // nor can it be read
	}{
		"a server that is stopped": {postgres: true, lasts: stopped, unread: true,
			cause: "the server cannot be reached|the server is stopping, starting, or has ended the connection|the connection to the server is lost",
			ways: func(server *storetest.Server, _ string) (begin, end func(*testing.T)) {
				return func(t *testing.T) {
						if err := server.Kill(); err != nil {
							t.Fatal(err)
						}
					}, func(t *testing.T) {
						if err := server.Restart(); err != nil {
							t.Fatal(err)
						}
					}
			}},
		"a server that is read-only": {postgres: true, cause: "it cannot be written now: it is a standby, or set to read-only",
			ways: func(server *storetest.Server, _ string) (begin, end func(*testing.T)) {
				return sql(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
					sql(server, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
			}},
		"a server that is full": {postgres: true, disk: "64m", cause: "there is no room left for it",
			ways: func(_ *storetest.Server, disk string) (begin, end func(*testing.T)) { return filling(disk) }},
		"a file on a full disk": {disk: "32m", cause: "there is no room left for it",
			ways: func(_ *storetest.Server, disk string) (begin, end func(*testing.T)) { return filling(disk) }},
		"a file that may not be written": {cause: "it may not be written|the disk refused to read or write it|its file or folder cannot be used|the file or its folder cannot be opened",
			ways: func(_ *storetest.Server, folder string) (begin, end func(*testing.T)) {
				chattr := func(flag string) func(t *testing.T) {
					return func(t *testing.T) {
						files, _ := filepath.Glob(filepath.Join(folder, "*"))
						if out, err := exec.Command("chattr", append([]string{flag}, files...)...).CombinedOutput(); err != nil {
							t.Skipf("no file can be made immutable here: %v %s", err, out)
						}
					}
				}
				return chattr("+i"), chattr("-i")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server *storetest.Server
			disk := t.TempDir()
			if trouble.disk != "" {
				smallDisk(t, disk, trouble.disk)
			}
			address := "sqlite:" + filepath.Join(disk, "reeve.db")
			if trouble.postgres {
				server = storetest.Start(t)
				address = server.Database(t)
				if trouble.disk != "" {
					address = onDisk(t, server, disk)
				}
			}
			begin, end := trouble.ways(server, disk)
			refused(t, bin, address, trouble.cause, trouble.unread, trouble.lasts, begin, end)
		})
	}
}

// refused is one trouble of a database, from begin to end.
func refused(t *testing.T, bin, address, cause string, unread bool, lasts time.Duration, begin, end func(*testing.T)) {
	w := newWorked(t, bin, address, tenant.Options{Seed: 3, Users: 20, Days: 4, PerUser: 50, BlobRecords: 10, Calm: true},
		emulator.Options{Calm: true, Latency: 150 * time.Millisecond}, "REEVE_ROLE="+roleAll, "REEVE_LISTEN=127.0.0.1:0")
	before := time.Now()
	a := w.start()
	page := w.page(a.process)
	w.until("some blobs to be read", time.Minute, func() bool { return w.done() > 20 })
	ended := false
	t.Cleanup(func() {
		if !ended {
			end(t)
		}
	})
	begin(t)
	w.until("it to say what the database refuses", 2*time.Minute, func() bool { return strings.Contains(a.err.String(), "The database refuses.") })
	<-time.After(5*time.Second + lasts) // in which it is tried again and again
	pattern := regexp.MustCompile(cause)
	want := func(what, text string) {
		t.Helper()
		if text = html.UnescapeString(text); !pattern.MatchString(text) {
			t.Errorf("%s does not say %q:\n%.2000s", what, cause, text)
		}
	}
	_, after, _ := strings.Cut(a.err.String(), "The database refuses.")
	want("the log", after)
	// By each part that it concerns, once for each cause: that the server ends the
	// connection may come before that it is gone.
	times := map[string]int{}
	for _, line := range regexp.MustCompile(`level=(?:ERROR|WARN) msg="[^"]*"`).FindAllString(a.err.String(), -1) {
		if times[line]++; times[line] > 2 {
			t.Errorf("it was said %d times: %s", times[line], line)
		}
	}
	if len(times) > 6 {
		t.Errorf("it was said in %d ways: %v", len(times), times)
	}
	if strings.Contains(after, "FinishedImportCycle") {
		t.Error("an import is called finished")
	}
	status, text := w.tell("import", "status")
	want("the status", text)
	if unread != (status == exitDatabase) || !unread && status != exitOK {
		t.Errorf("the status ends with %d", status)
	}
	code, text := w.tell("doctor", "--only", "database")
	want("the doctor", text)
	if code != exitCheck {
		t.Errorf("the doctor ends with %d", code)
	}
	code, text = w.tell("import", "run", "--once")
	want("a run with --once", text)
	if code != exitDatabase {
		t.Errorf("a run with --once ends with %d", code)
	}
	answer, err := http.Get(page + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	want("the page", string(body))
	if unread != (answer.StatusCode == http.StatusInternalServerError) {
		t.Errorf("the page is answered with %d", answer.StatusCode)
	}
	end(t)
	ended = true
	w.until("it to go on", 2*time.Minute, func() bool {
		_, after, ok := strings.Cut(a.err.String(), "The database works again.")
		return ok && strings.Contains(after, "FinishedImportCycle")
	})
	t.Logf("%s", regexp.MustCompile(`(?m)^.*The database works again.*$`).FindString(a.err.String()))
	a.end()
	w.judge(before)
}

// TestBeginsWithoutItsDatabase: a process that is started before the server waits for it.
func TestBeginsWithoutItsDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	server := storetest.Start(t)
	w := newWorked(t, buildReeve(t), server.Database(t), tenant.Options{Seed: 3, Users: 6, Days: 2, PerUser: 20, Calm: true}, emulator.Options{Calm: true})
	before := time.Now()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	a := w.start()
	w.until("it to say that the database does not answer", time.Minute, func() bool { return strings.Contains(a.err.String(), "The database refuses.") })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	w.until("an import", time.Minute, func() bool { return strings.Contains(a.err.String(), "FinishedImportCycle") })
	a.end()
	w.judge(before)
}

// smallDisk mounts a file system of a size.
func smallDisk(t *testing.T, at, size string) {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", at).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "--lazy", at).Run() })
}

// filling gives what fills up a disk, and what makes room again.
func filling(disk string) (begin, end func(*testing.T)) {
	path := filepath.Join(disk, "ballast")
	return func(t *testing.T) {
			ballast, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer ballast.Close()
			for err == nil {
				_, err = ballast.Write(make([]byte, 4<<10))
			}
		}, func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
}

// onDisk gives the address of a database whose tables are on a disk.
func onDisk(t *testing.T, server *storetest.Server, disk string) string {
	t.Helper()
	// The folder has to be the server's, whose socket's folder is its own.
	socket, err := url.Parse(server.Address("full"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(socket.Query().Get("host"))
	if err != nil {
		t.Fatal(err)
	}
	space := filepath.Join(disk, "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir := disk; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) { // the way to it
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(space, int(info.Sys().(*syscall.Stat_t).Uid), -1); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, "CREATE TABLESPACE small LOCATION '"+space+"'")
	server.Exec(t, "CREATE DATABASE full_one TEMPLATE template0 TABLESPACE small")
	return server.Address("full_one")
}

// worked is an emulated tenant, and a database that processes import it into.
type worked struct {
	*served
	bin  string
	emu  *emulator.Emulator
	look *sql.DB // as another program connects
}

func newWorked(t *testing.T, bin, address string, o tenant.Options, e emulator.Options, more ...string) *worked {
	t.Helper()
	tn, err := tenant.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := serving(t, tn, e, address, more...)
	w.bin = bin
	if w.db, err = store.Open(t.Context(), address, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.look = storetest.Connect(t, address)
	if _, err := w.db.Tenant(t.Context(), tn.ID); err != nil {
		t.Fatal(err)
	}
	return w
}

// serving begins to serve a tenant, and gives the settings that import it into a database.
func serving(t *testing.T, tn *tenant.Tenant, e emulator.Options, address string, more ...string) *worked {
	t.Helper()
	e.Tenant = tn
	emu, err := emulator.Start(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { emu.Close() })
	dir := t.TempDir()
	variables, err := emu.WriteClient(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	return &worked{emu: emu, served: &served{t: t, tenant: tn, number: 1, environ: with(variables, append([]string{
		"REEVE_DATABASE_URL=" + address, "REEVE_FEEDS_AUDIT_DAYS=7", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true", "REEVE_FEEDS_AUDIT_INTERVAL=1s",
		"REEVE_CREDENTIALS_MODE=off", "REEVE_CREDENTIALS_DIR=" + filepath.Join(dir, "keys"), "REEVE_ROLE=worker", "REEVE_VAULT_URL=",
	}, more...))}}
}

// buildReeve builds the program.
func buildReeve(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "reeve")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/reeve").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// start starts a worker.
func (w *worked) start() *doomed { return w.begin("serve") }

// begin starts a process.
func (w *worked) begin(args ...string) *doomed {
	w.t.Helper()
	b := &doomed{process: &process{t: w.t, done: make(chan struct{})}, cmd: exec.Command(w.bin, args...)}
	b.cmd.Env, b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = w.environ, w.t.TempDir(), &b.out, &b.err
	b.stop = func() { b.cmd.Process.Signal(syscall.SIGTERM) }
	if err := b.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(b.done)
		b.cmd.Wait()
		b.code = b.cmd.ProcessState.ExitCode()
	}()
	w.t.Cleanup(func() {
		b.cmd.Process.Kill()
		<-b.done
		if w.t.Failed() && b.code >= 0 {
			w.t.Logf("a process ended with %d:\n%.20000s", b.code, b.err.String())
		}
	})
	return b
}

// tell runs a command in this process, and gives all that it says.
func (w *worked) tell(args ...string) (code int, text string) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	var all said
	code = Main(ctx, args, w.environ, Streams{In: strings.NewReader(""), Out: &all, Err: &all})
	return code, all.String()
}

// once imports all that there is.
func (w *worked) once() int {
	code, text := w.tell("import", "run", "--once")
	if code != exitOK {
		w.t.Logf("a run with --once ended with %d: %s", code, text[max(0, len(text)-1500):])
	}
	return code
}

// stood is how far an import is.
type stood struct {
	done, due, lost        int
	stored, records, other int
}

func (w *worked) standing() (s stood) {
	w.t.Helper()
	var all []store.Standing
	var err error
	for range 20 { // as in done
		if all, err = w.db.Ledger(w.number, "audit").Standing(w.t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range all {
		s.done += p.Blobs[store.BlobDone]
		s.due += p.Blobs[store.BlobDue]
		s.lost += p.Blobs[store.BlobLost] + p.Windows[store.WindowLost]
		s.stored += int(p.Counts.Stored)
		s.records += int(p.Counts.Records)
		s.other += int(p.Counts.Duplicate + p.Counts.OutOfScope + p.Counts.Quarantined)
	}
	return s
}

// done counts the blobs that are stored.
func (w *worked) done() (n int) {
	w.t.Helper()
	var err error
	for range 10 { // connections that are idle learn late that their server has ended
		if err = w.look.QueryRowContext(w.t.Context(), `SELECT count(*) FROM ledger_blobs WHERE state = 'done'`).Scan(&n); err == nil {
			return n
		}
	}
	w.t.Fatal(err)
	return 0
}

// await waits until something is so, for a while at most.
func (w *worked) await(limit time.Duration, ok func() bool) {
	end := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// downloads counts the blobs that Microsoft has given.
func (w *worked) downloads() (n int) {
	for _, c := range w.emu.Calls() {
		if c.API == "manage" && c.Operation == "blob" && c.Status == "2xx" {
			n += c.Count
		}
	}
	return n
}

// judge compares what is stored with what there is: each record once, the broken ones in
// quarantine, and the ledger's counts right.
func (w *worked) judge(before time.Time) {
	w.t.Helper()
	where, err := w.db.Whereabouts(w.t.Context(), w.number)
	if err != nil {
		w.t.Fatal(err)
	}
	total, missing, wrong, stored := 0, 0, 0, map[string]bool{}
	for r := range w.tenant.Audit.Records() {
		at := where(r.ID)
		if at == store.IsStored {
			stored[r.ID] = true
		}
		if !r.Created.Before(before) {
			continue
		}
		total++
		switch {
		case at == store.IsMissing:
			missing++
		case at == store.IsQuarantined && !r.Broken, at == store.IsIgnored:
			wrong++
		case at == store.IsStored && total%20 == 0:
			// Its text is where its row says.
			var text struct{ ID string }
			found, err := w.db.Record(w.t.Context(), w.number, r.ID)
			if err == nil {
				err = json.Unmarshal(found[0].Raw, &text)
			}
			if err != nil || text.ID != r.ID {
				w.t.Errorf("the text of record %s is %.100q: %v", r.ID, text.ID, err)
			}
		}
	}
	if total == 0 || missing > 0 || wrong > 0 {
		w.t.Errorf("of %d records %d are missing, and %d are where they should not be", total, missing, wrong)
	}
	var rows, ids, held, records int
	if err := w.look.QueryRowContext(w.t.Context(), `SELECT count(*), count(DISTINCT id) FROM audit_events`).Scan(&rows, &ids); err != nil {
		w.t.Fatal(err)
	}
	if err := w.look.QueryRowContext(w.t.Context(), `SELECT count(*) FROM ledger_blobs WHERE holder IS NOT NULL AND state <> 'due'`).Scan(&held); err != nil {
		w.t.Fatal(err)
	}
	if err := w.look.QueryRowContext(w.t.Context(), `SELECT count(*) FROM contents`).Scan(&records); err != nil {
		w.t.Fatal(err)
	}
	s := w.standing()
	if rows != ids || rows != len(stored) || rows != s.stored || s.records != s.stored+s.other || held > 0 || s.lost > 0 || records == 0 {
		w.t.Errorf("%d rows with %d ids, %d of them of records that there are, %d held; the ledger has %+v", rows, ids, len(stored), held, s)
	}
	for _, name := range []struct{ column, table string }{{"user_id", "users"}, {"operation_id", "event_operations"}, {"workload_id", "event_workloads"}} {
		var without int
		if err := w.look.QueryRowContext(w.t.Context(), `SELECT count(*) FROM audit_events WHERE `+name.column+` IS NOT NULL AND `+name.column+` NOT IN (SELECT id FROM `+name.table+`)`).Scan(&without); err != nil || without > 0 {
			w.t.Errorf("%d rows have a number that %s does not know: %v", without, name.table, err)
		}
	}
}

// compare imports the same tenant into another database, without faults and left alone, and
// gives the number of rows that are the same in both. Where a record's text stands, and which
// of two different records of one Id was stored, depends on the order of the blobs.
func (w *worked) compare(address string, before time.Time) (same int) {
	w.t.Helper()
	other := *w
	served := *w.served
	served.environ = serving(w.t, w.tenant, emulator.Options{Calm: true}, address).environ
	other.served = &served
	if code := other.once(); code != exitOK {
		w.t.Errorf("an import that is left alone ends with %d", code)
	}
	other.look = storetest.Connect(w.t, address)
	records := map[string]bool{}
	for r := range w.tenant.Audit.Records() {
		if r.Created.Before(before) {
			records[idText(r.ID)] = true
		}
	}
	conflicts := map[string]bool{}
	for _, db := range []*worked{w, &other} {
		rows, err := db.look.QueryContext(w.t.Context(), `SELECT coalesce(record_id, '') FROM quarantine`)
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				w.t.Fatal(err)
			}
			conflicts[idText(id)] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
	for table := range factTables {
		got, want := w.rowsOf(table), other.rowsOf(table)
		for id := range records {
			switch {
			case conflicts[id]:
			case got[id] != want[id]:
				w.t.Errorf("%s of record %s is\n%s\nbut\n%s\nof an import that was left alone", table, id, got[id], want[id])
			case want[id] != "":
				same++
			}
		}
	}
	return same
}

// rowsOf gives the rows of a table by the record's id, without where its text stands.
func (w *worked) rowsOf(table string) map[string]string {
	w.t.Helper()
	rows, err := w.look.QueryContext(w.t.Context(), `SELECT * FROM `+table)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string][]string{}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			w.t.Fatal(err)
		}
		id, line := "", ""
		for i, name := range columns {
			switch {
			case name == "event_id", name == "id" && table == "audit_events":
				id = idText(values[i])
			case !strings.HasPrefix(name, "content_"):
				line += fmt.Sprintf("%s=%v ", name, values[i])
			}
		}
		all[id] = append(all[id], line)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	by := map[string]string{}
	for id, lines := range all {
		slices.Sort(lines)
		by[id] = strings.Join(lines, "\n")
	}
	return by
}
