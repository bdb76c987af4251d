package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store"
)

// TestMain makes this program a sender that ends only when it is killed, if a test
// started it so.
func TestMain(m *testing.M) {
	if path := os.Getenv("NOTIFY_TEST_DATABASE"); path != "" {
		if err := sendOnce(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sendOnce delivers what is in a database to the webhook that the environment names.
func sendOnce(path string) error {
	seconds, err := strconv.ParseInt(os.Getenv("NOTIFY_TEST_NOW"), 10, 64)
	if err != nil {
		return err
	}
	now := func() time.Time { return time.Unix(seconds, 0) }
	db, err := store.Open(context.Background(), "sqlite:"+path, store.Options{Now: now})
	if err != nil {
		return err
	}
	defer db.Close()
	webhook, err := NewWebhook(WebhookOptions{URL: os.Getenv("NOTIFY_TEST_URL"), CA: []byte(os.Getenv("NOTIFY_TEST_CA"))})
	if err != nil {
		return err
	}
	_, err = (&Sender{DB: db, Tenant: 1, Targets: []Target{webhook}, Now: now, Log: slog.New(slog.DiscardHandler)}).Deliver(context.Background())
	return err
}

// A bench is a database, a clock and what was logged.
type bench struct {
	t    *testing.T
	path string
	db   *store.DB

	mu  sync.Mutex // guards what follows
	at  time.Time
	log bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "x.db"), at: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	b.db = b.open()
	if tenant, err := b.db.Tenant(t.Context(), "t"); err != nil || tenant != 1 {
		t.Fatal(tenant, err)
	}
	return b
}

func (b *bench) open() *store.DB {
	b.t.Helper()
	db, err := store.Open(b.t.Context(), "sqlite:"+b.path, store.Options{Now: b.now})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { db.Close() })
	return db
}

func (b *bench) now() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.at }

func (b *bench) pass(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.at = b.at.Add(d) }

func (b *bench) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.log.Write(p) }

func (b *bench) logged() string { b.mu.Lock(); defer b.mu.Unlock(); return b.log.String() }

// sender spreads nothing: each pause has its full length.
func (b *bench) sender(db *store.DB, targets ...Target) *Sender {
	return &Sender{DB: db, Tenant: 1, Targets: targets, Now: b.now, Log: slog.New(slog.NewTextHandler(b, nil)), Rand: func() float64 { return 1 }}
}

func (b *bench) deliver(targets ...Target) time.Time {
	b.t.Helper()
	next, err := b.sender(b.db, targets...).Deliver(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return next
}

func (b *bench) post(ids ...string) {
	b.t.Helper()
	if err := b.db.Write(b.t.Context(), func(tx *store.Tx) error {
		for _, id := range ids {
			e := Event{ID: id, At: b.now(), Kind: "certificate-renewed", Severity: Info, Subject: "subject of " + id}
			if err := Post(tx, 1, e); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
}

// states lists the deliveries to a target, as "event state attempts".
func (b *bench) states(target string) []string {
	b.t.Helper()
	all, err := b.db.Outbox(1).Deliveries(b.t.Context(), 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	states := []string{}
	for _, d := range all {
		if d.Target == target {
			states = append(states, fmt.Sprintf("%s %s %d", d.Event.ID, d.State, d.Attempts))
		}
	}
	slices.Sort(states)
	return states
}

func (b *bench) findings() []store.Finding {
	b.t.Helper()
	all, err := b.db.Findings(b.t.Context(), 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) want(what string, got, want any) {
	b.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// A receiver is a webhook's other end. It answers what the test says, and keeps the
// IDs in the order in which they came.
type receiver struct {
	target *Webhook
	mu     sync.Mutex // guards what follows
	got    []string
	answer func(id string) (code int, header http.Header)
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{answer: func(string) (int, http.Header) { return http.StatusOK, nil }}
	s, ca := startServer(t, func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		id := req.Header.Get("X-Reeve-Event")
		r.got = append(r.got, id)
		code, header := r.answer(id)
		for k := range header {
			w.Header().Set(k, header.Get(k))
		}
		w.WriteHeader(code)
	})
	r.target = newWebhook(t, s, ca)
	return r
}

// take gives what came since it was last called.
func (r *receiver) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *receiver) always(code int, header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = func(string) (int, http.Header) { return code, header }
}

func TestEventIsToldOnceWhatIsCommitted(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	b.post("a")
	rolledBack := errors.New("no")
	if err := b.db.Write(t.Context(), func(tx *store.Tx) error {
		if err := Post(tx, 1, Event{ID: "b", At: b.now(), Kind: "k", Severity: Info, Subject: "s"}); err != nil {
			return err
		}
		return rolledBack
	}); !errors.Is(err, rolledBack) {
		t.Fatal(err)
	}
	b.post("a") // again, before and after it was sent
	next := b.deliver(r.target)
	b.post("a", "c")
	b.deliver(r.target)
	b.want("received", r.take(), []string{"a", "c"})
	b.want("next", next, time.Time{})
	b.want("states", b.states("webhook"), []string{"a sent 1", "c sent 1"})
	b.want("log states", b.states("log"), []string{"a sent 1", "c sent 1"})
	if n := strings.Count(b.logged(), "subject of a"); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, b.logged())
	}
}

func TestLogTellsEverything(t *testing.T) {
	b := newBench(t)
	e := renewed(t)
	if err := b.db.Write(t.Context(), func(tx *store.Tx) error { return Post(tx, 1, e) }); err != nil {
		t.Fatal(err)
	}
	b.deliver()
	for _, want := range []string{"level=WARN", e.Subject, "event=" + e.ID, "kind=" + e.Kind, e.Remedy, "fields.not-after=2027-11-02"} {
		if !strings.Contains(b.logged(), want) {
			t.Errorf("the log lacks %q:\n%s", want, b.logged())
		}
	}
}

func TestPostRefusesInTheTransaction(t *testing.T) {
	b := newBench(t)
	_, key := makePair(t, "reeve")
	err := b.db.Write(t.Context(), func(tx *store.Tx) error {
		return Post(tx, 1, Event{ID: "a", At: b.now(), Kind: "k", Severity: Info, Subject: "s", Text: string(key)})
	})
	if !errors.Is(err, errPrivateKey) {
		t.Errorf("got %v", err)
	}
	b.want("next", b.deliver(), time.Time{})
}

func TestFailureIsTriedAgainLaterAndLater(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	r.always(500, nil)
	b.post("a")
	start := b.now()
	var pauses []time.Duration
	for range 40 {
		next := b.deliver(r.target)
		if next.IsZero() {
			break
		}
		pauses = append(pauses, next.Sub(b.now()))
		b.want("nothing is due before", b.deliver(r.target), next)
		b.pass(next.Sub(b.now()))
	}
	want := []time.Duration{}
	for d := 30 * time.Second; d < 6*time.Hour; d *= 2 {
		want = append(want, d)
	}
	for len(want) < len(pauses) {
		want = append(want, 6*time.Hour)
	}
	b.want("pauses", pauses, want)
	if whole := b.now().Sub(start); whole < giveUpAfter || whole > giveUpAfter+longestPause {
		t.Errorf("it was given up after %s", whole)
	}
	attempts := len(pauses) + 1
	b.want("received", len(r.take()), attempts)
	b.want("states", b.states("webhook"), []string{fmt.Sprintf("a given-up %d", attempts)})
	f := b.findings()
	if len(f) != 1 || f[0].Rule != RuleUndelivered || f[0].Subject != "webhook" || !strings.Contains(f[0].Message, "event a") ||
		!strings.Contains(f[0].Message, "500") || f[0].Remedy == "" {
		t.Errorf("the findings are %+v", f)
	}
	if !strings.Contains(b.logged(), "level=ERROR msg=\"gave up a notice\" target=webhook event=a") {
		t.Errorf("the log does not tell:\n%s", b.logged())
	}
	r.always(200, nil)
	b.post("b")
	b.deliver(r.target)
	b.want("findings after the next success", b.findings(), []store.Finding(nil))
}

func TestPauseIsSpread(t *testing.T) {
	s := new(Sender)
	for n := 1; n < 100; n++ {
		low, high := 6*time.Hour, time.Duration(0)
		whole := longestPause
		if n < 11 {
			whole = min(whole, firstPause<<(n-1))
		}
		for range 200 {
			p := s.pause(n)
			low, high = min(low, p), max(high, p)
		}
		if low > whole/4 || high < whole*3/4 || high > whole {
			t.Errorf("after failure %d pauses are from %s to %s", n, low, high)
		}
	}
}

func TestPermanentRefusalIsGivenUpAtOnce(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	r.answer = func(id string) (int, http.Header) {
		if id == "b" {
			return http.StatusGone, nil
		}
		return 200, nil
	}
	b.post("b")
	b.want("next", b.deliver(r.target), time.Time{})
	if f := b.findings(); len(f) != 1 || !strings.Contains(f[0].Message, "410") {
		t.Errorf("the findings are %+v", f)
	}
	if !strings.Contains(b.logged(), "gave up a notice") {
		t.Errorf("the log does not tell:\n%s", b.logged())
	}
	b.post("a", "c")
	b.deliver(r.target)
	b.want("received", r.take(), []string{"b", "a", "c"})
	b.want("states", b.states("webhook"), []string{"a sent 1", "b given-up 1", "c sent 1"})
	b.want("findings", b.findings(), []store.Finding(nil))
	checkNoCanary(t, b.logged())
}

// TestThrottledTargetIsLeftAlone: what a target asks for holds for all that is for it.
func TestThrottledTargetIsLeftAlone(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	r.always(429, http.Header{"Retry-After": {"600"}})
	b.post("a", "b", "c")
	b.want("next", b.deliver(r.target), b.now().Add(10*time.Minute))
	b.want("received", r.take(), []string{"a"})
	r.always(200, nil)
	b.pass(10*time.Minute - time.Millisecond)
	b.deliver(r.target)
	b.want("received too early", r.take(), []string(nil))
	b.pass(time.Millisecond)
	b.deliver(r.target)
	b.want("received", len(r.take()), 3)
	b.want("states", b.states("webhook"), []string{"a sent 2", "b sent 1", "c sent 1"})
}

// TestOneBadEventHoldsUpNoOther: a receiver that chokes on one event gets the rest.
func TestOneBadEventHoldsUpNoOther(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	r.answer = func(id string) (int, http.Header) {
		if id == "a" {
			return 500, nil
		}
		return 200, nil
	}
	b.post("a", "b", "c")
	for range 5 {
		b.pass(b.deliver(r.target).Sub(b.now()))
	}
	if got := b.states("webhook"); !slices.Contains(got, "b sent 1") || !slices.Contains(got, "c sent 1") {
		t.Errorf("the states are %q", got)
	}
}

func TestHangingTargetHoldsUpNoOther(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	mail := startMailServer(t, StartTLS, "")
	mails := newMail(t, mail.options(StartTLS, "hang@contoso.example", "ops@contoso.example"))
	b.post("a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.sender(b.db, append(mails, r.target)...).Deliver(ctx)
		ended <- err
	}()
	// The mails arrive while the other recipient's hangs, and so the pass does.
	mail.next(t)
	mail.next(t)
	select {
	case err := <-ended:
		t.Fatalf("the pass ended: %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := b.states("mail:ops@contoso.example"); got[0] != "a sent 1" { // the pass may end before it hears the answer to b
		t.Errorf("mailed: %q", got)
	}
	// What was under way when the process was stopped is tried again when its lease ends.
	b.want("hanging", b.states("mail:hang@contoso.example"), []string{"a due 1", "b due 0"})
}

func TestTargetsOfEventAreThoseOfItsTime(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	b.post("a")
	b.deliver()
	b.post("b")
	b.deliver(r.target)
	b.want("received", r.take(), []string{"b"})

	// One that is no longer configured is waited for, then dropped.
	r.always(500, nil)
	b.post("c")
	b.deliver(r.target)
	b.pass(giveUpAfter - time.Second)
	b.want("next", b.deliver(), time.Time{})
	b.want("states", b.states("webhook"), []string{"b sent 1", "c due 1"})
	b.pass(time.Second)
	b.deliver()
	b.want("states", b.states("webhook"), []string{"b sent 1", "c given-up 1"})

	// And the finding about it goes.
	r.always(410, nil)
	b.post("d")
	b.deliver(r.target)
	b.want("findings", len(b.findings()), 1)
	b.deliver()
	b.want("findings", len(b.findings()), 0)
	if _, err := b.sender(b.db, r.target, r.target).Deliver(t.Context()); err == nil || !strings.Contains(err.Error(), "two targets are called webhook") {
		t.Errorf("got %v", err)
	}
}

func TestPassIsBounded(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	var ids []string
	for i := range 2*perPass + 1 {
		ids = append(ids, fmt.Sprintf("%03d", i))
	}
	b.post(ids...)
	for i, want := range []int{perPass, perPass, 1} {
		next := b.deliver(r.target)
		got := r.take()
		b.want(fmt.Sprintf("pass %d", i), got, ids[:want])
		if ids = ids[want:]; next.IsZero() != (len(ids) == 0) || next.After(b.now()) {
			t.Errorf("after pass %d the next one is at %s", i, next)
		}
	}
}

// TestSendersShareTheWork lets two processes' worth of senders loose on one database.
func TestSendersShareTheWork(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	want := []string{}
	for i := range 60 {
		want = append(want, fmt.Sprintf("%03d", i))
	}
	b.post(want...)
	dbs := []*store.DB{b.db, b.open(), b.open()}
	errs := make(chan error)
	for _, db := range dbs {
		go func() {
			_, err := b.sender(db, r.target).Deliver(t.Context())
			errs <- err
		}()
	}
	for range dbs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	got := r.take()
	slices.Sort(got)
	b.want("received", got, want)
}

// TestLostAttemptRecordsNothingButSuccess: a sender that was asleep for longer than
// its lease must not undo what another one has done meanwhile.
func TestLostAttemptRecordsNothingButSuccess(t *testing.T) {
	b := newBench(t)
	b.post("a", "b")
	o, ctx := b.db.Outbox(1), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(o.Address(ctx, []string{"x"}, b.now()))
	claim := func() store.Delivery {
		t.Helper()
		d, err := o.Claim(ctx, "x", b.now(), b.now().Add(lease))
		must(err)
		return d
	}
	asleep := claim()
	claim() // b
	if _, err := o.Claim(ctx, "x", b.now(), b.now().Add(lease)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a leased delivery was claimed: %v", err)
	}
	b.pass(lease)
	again := claim()
	if again.Event.ID != asleep.Event.ID || again.Attempts != 2 {
		t.Fatalf("claimed %+v", again)
	}
	must(o.GiveUp(ctx, asleep, "slept", b.now(), store.Finding{Rule: RuleUndelivered, Subject: "x"}))
	must(o.Failed(ctx, asleep, "slept", b.now(), b.now()))
	b.want("after the sleeper failed", b.states("x"), []string{"a due 2", "b due 1"})
	claim() // b, whose lease has run out too
	if d, err := o.Claim(ctx, "x", b.now(), b.now().Add(lease)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the sleeper ended another's lease: %+v, %v", d, err)
	}
	b.want("findings", b.findings(), []store.Finding(nil))
	must(o.Sent(ctx, asleep, b.now(), RuleUndelivered))
	must(o.Failed(ctx, again, "failed", b.now(), b.now()))
	b.want("after the sleeper succeeded", b.states("x"), []string{"a sent 2", "b due 2"})
}

// A lastWord is a target that takes an event over just when the process is to stop.
type lastWord struct{ stop func() }

func (lastWord) Name() string                        { return "last" }
func (w lastWord) Send(context.Context, Event) error { w.stop(); return nil }

func TestWhatWasSentIsRecordedAlthoughStopped(t *testing.T) {
	b := newBench(t)
	b.post("a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := b.sender(b.db, lastWord{cancel}).Deliver(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.want("states", b.states("last"), []string{"a sent 1", "b due 0"})
}

// TestKilledAfterSending kills a process when the receiver has the event and before
// it has answered.
func TestKilledAfterSending(t *testing.T) {
	b := newBench(t)
	b.post("a")
	var child atomic.Pointer[os.Process]
	started, got := make(chan struct{}), make(chan string, 2)
	s, ca := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-started
		if p := child.Swap(nil); p != nil {
			p.Kill()
			p.Wait()
		}
		got <- r.Header.Get("X-Reeve-Event")
	})
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), "NOTIFY_TEST_DATABASE="+b.path, "NOTIFY_TEST_URL="+s.URL, "NOTIFY_TEST_CA="+string(ca),
		fmt.Sprintf("NOTIFY_TEST_NOW=%d", b.now().Unix()))
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	child.Store(c.Process)
	close(started)
	select {
	case id := <-got:
		b.want("received by the killed process", id, "a")
	case <-time.After(time.Minute):
		c.Process.Kill()
		t.Fatalf("nothing came: %s", said.String())
	}
	c.Wait()
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	b.db = b.open() // as the next start does
	webhook := newWebhook(t, s, ca)
	b.want("states", b.states("webhook"), []string{"a due 1"})
	next := b.deliver(webhook)
	b.want("next", next, b.now().Add(lease))
	b.pass(lease)
	b.want("next", b.deliver(webhook), time.Time{})
	b.want("received", <-got, "a")
	b.want("states", b.states("webhook"), []string{"a sent 2"})
	b.want("log states", b.states("log"), []string{"a sent 1"})
}

func TestOutboxSurvivesReopening(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	b.post("a")
	r.always(500, nil)
	b.deliver(r.target)
	b.post("b")
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	b.db = b.open()
	r.always(200, nil)
	b.pass(firstPause)
	b.deliver(r.target)
	b.want("received", r.take(), []string{"a", "a", "b"})
	b.want("states", b.states("webhook"), []string{"a sent 2", "b sent 1"})
}

// TestMailOfOutbox: one recipient is refused and one is not, and neither that nor a
// wrong password shows a secret.
func TestMailOfOutbox(t *testing.T) {
	b := newBench(t)
	s := startMailServer(t, StartTLS, smtpPassword)
	o := s.options(StartTLS, "echo@contoso.example", "ops@contoso.example")
	o.Username, o.Password = "reeve", "not "+smtpPassword
	e := renewed(t)
	if err := b.db.Write(t.Context(), func(tx *store.Tx) error { return Post(tx, 1, e) }); err != nil {
		t.Fatal(err)
	}
	b.deliver(newMail(t, o)...)
	want := []string{e.ID + " due 1"}
	b.want("with a wrong password", b.states("mail:ops@contoso.example"), want)
	o.Password = smtpPassword
	b.pass(firstPause)
	b.want("next", b.deliver(newMail(t, o)...), time.Time{})
	b.want("refused", b.states("mail:echo@contoso.example"), []string{e.ID + " given-up 2"})
	b.want("mailed", b.states("mail:ops@contoso.example"), []string{e.ID + " sent 2"})
	m, msg := s.next(t)
	b.want("to", m.To, []string{"ops@contoso.example"})
	all := parts(t, msg.Header.Get("Content-Type"), "", "", msg.Body)
	if len(all) != 4 || !bytes.Equal(all[2].data, e.Attachments[0].Data) {
		t.Errorf("the certificate did not arrive: %d parts", len(all))
	}
	deliveries, err := b.db.Outbox(1).Deliveries(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	checkNoCanary(t, []any{b.logged(), b.findings(), deliveries})
	database, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	journal, _ := os.ReadFile(b.path + "-wal")
	for _, secret := range canaries(smtpPassword, "\x00reeve\x00"+smtpPassword) {
		if bytes.Contains(append(database, journal...), []byte(secret)) {
			t.Errorf("the database holds %q", secret)
		}
	}
}

// A trial goes to the targets that are named, and leaves nothing in the outbox.
func TestTry(t *testing.T) {
	b := newBench(t)
	good, bad := &tried{name: "good"}, &tried{name: "bad", err: errors.New("it is down")}
	s := &Sender{DB: b.db, Tenant: 1, Targets: []Target{good, bad}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	e := Event{ID: "test/1", At: time.Now(), Kind: "test", Subject: "a test", Severity: Info}
	for _, test := range []struct {
		names     []string
		want      string
		good, bad int
	}{{nil, "[{good <nil>} {bad it is down}]", 1, 1}, {[]string{"good", "log"}, "[{good <nil>}]", 2, 1}, {[]string{"log"}, "[]", 2, 1}} {
		got, err := s.Try(t.Context(), e, test.names)
		if err != nil || fmt.Sprint(got) != test.want || good.times != test.good || bad.times != test.bad {
			t.Errorf("%v: %v, %v; tried %d and %d times", test.names, got, err, good.times, bad.times)
		}
	}
	if _, err := s.Try(t.Context(), Event{ID: "test/2"}, nil); err == nil || good.times != 2 {
		t.Errorf("an event that says nothing was sent: %v", err)
	}
	if all, err := b.db.Outbox(1).Deliveries(t.Context(), 10); err != nil || len(all) != 0 {
		t.Errorf("the outbox has %v, %v", all, err)
	}
}

// tried is a target that counts how often it was told.
type tried struct {
	name  string
	err   error
	times int
}

func (t *tried) Name() string { return t.name }

func (t *tried) Send(context.Context, Event) error {
	t.times++
	return t.err
}
