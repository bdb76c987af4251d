package rotate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// duel is one application in a tenant whose replicas lag, of which reeve replaces the
// list of keys while somebody else changes it.
type duel struct {
	*inside
	t       testing.TB
	subject *subject
	reeve   *process
	file    string
	keys    certstore.Store
	starts  int

	// list carries out a list of reeve's, the n-th, by calling send.
	list     func(n int, send func() (*http.Response, error)) (*http.Response, error)
	lists    int
	noRemove bool // removeKey is refused

	cancel context.CancelFunc // ends the process in good order; a panic with killed ends it otherwise
}

func newDuel(t testing.TB) *duel {
	w := newInside(t, 3, origin.UsualDelays)
	d := &duel{inside: w, t: t, keys: openKeys(t, ""), file: filepath.Join(place(t), "reeve.db")}
	d.subject = w.applications(1, func(int) time.Duration { return 180 * 24 * time.Hour })[0]
	d.list = func(_ int, send func() (*http.Response, error)) (*http.Response, error) { return send() }
	d.start()
	return d
}

func (d *duel) start() {
	d.starts++
	d.reeve = d.inside.start(d.file, fmt.Sprint("reeve ", d.starts), d.keys, 1, 0, func(o *Options) {
		o.HTTP = &http.Client{Transport: d}
		o.Directory = newDirectory(d.t, d.cloud, o.HTTP, d.inside)
	})
}

func (d *duel) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method == http.MethodPatch:
		d.lists++
		return d.list(d.lists, func() (*http.Response, error) { return d.inside.RoundTrip(r) })
	case d.noRemove && strings.HasSuffix(r.URL.Path, "/removeKey"):
		return forbidden(), nil
	}
	return d.inside.RoundTrip(r)
}

func forbidden() *http.Response {
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}},
		Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}
}

func (d *duel) adopt(change func(*Adoption)) {
	policy := credential.Policy{Overlap: credential.Span(time.Hour), DestroyAfter: credential.Span(time.Hour)}.Complete(d.cloud.GraphAudience)
	d.inside.adopt(d.reeve, d.subject, policy, change)
}

// add adds a key of somebody else's.
func (d *duel) add() string {
	d.t.Helper()
	key, err := nextKey(context.Background(), pki.RSA2048)
	if err != nil {
		d.t.Fatal(err)
	}
	pair, err := pki.SelfSign(key, pki.Template{Subject: mustName(d.t, "CN=late"), NotBefore: d.clock.Now().Add(-time.Hour), NotAfter: d.clock.Now().AddDate(1, 0, 0)})
	if err != nil {
		d.t.Fatal(err)
	}
	id, err := d.tenant.Directory.AddKeyCredential(d.subject.client, pair.Certificate.Raw, time.Time{}, time.Time{})
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

func (d *duel) remove(id string) {
	if err := d.tenant.Directory.RemoveKeyCredential(d.subject.client, id); err != nil {
		d.t.Fatal(err)
	}
}

func (d *duel) there(id string) bool { return slices.Contains(d.keyIDs(d.subject.object), id) }

func (d *duel) app() credential.Application {
	a, err := d.reeve.db.Application(context.Background(), d.reeve.o.Tenant, d.subject.object)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *duel) describe() string {
	return describe(d.reeve.db, d.reeve.o.Tenant, d.subject.object, d.clock.Now())
}

// work works until a condition holds. When the process is ended, another begins.
func (d *duel) work(what string, ok func(credential.Application) bool) {
	d.t.Helper()
	for end := d.clock.Now().Add(6 * time.Hour); d.clock.Now().Before(end); {
		next, err := d.once()
		switch {
		case errors.Is(err, store.ErrLeased):
			next = d.clock.Now().Add(30 * time.Second)
		case err != nil:
			d.t.Fatal(err)
		}
		if ok(d.app()) {
			return
		}
		d.clock.Add(max(next.Sub(d.clock.Now()), time.Millisecond))
	}
	d.t.Fatalf("waiting for %s: not within six hours\n%s", what, d.describe())
}

func (d *duel) once() (next time.Time, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.cancel = cancel
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			d.start()
			next, err = d.clock.Now().Add(time.Second), nil
		}
	}()
	next, err = d.reeve.Work(ctx, d.subject.object)
	if ctx.Err() != nil {
		d.start()
		next, err = d.clock.Now(), nil
	}
	return next, err
}

func hasActive(a credential.Application) bool { _, ok := a.Active(); return ok }

// first lets reeve register the application's first certificate, which goes by the list.
func (d *duel) first() {
	d.t.Helper()
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	d.work("an active one", hasActive)
}

// TestLostByAList has somebody add a key five seconds before a list of reeve's is carried
// out, which takes it away. It is put back, also when the process ends right after the
// list: what replicas show that lag tells of it, as long as they do.
func TestLostByAList(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"register", "remove"} {
		for _, end := range []string{"goes on", "answer lost", "closed"} {
			t.Run(way+", "+end, func(t *testing.T) {
				d := newDuel(t)
				var late string
				hook := func(n int, send func() (*http.Response, error)) (*http.Response, error) {
					if n > 1 {
						return send()
					}
					late = d.add()
					d.clock.Add(5 * time.Second)
					resp, err := send()
					if d.there(late) {
						t.Error("the key that was just added is in the list: this tests nothing")
					}
					switch end {
					case "answer lost":
						return nil, errLost
					case "closed":
						d.cancel()
					}
					return resp, err
				}
				if way == "register" {
					d.list = hook
					d.first()
				} else {
					d.adopt(func(*Adoption) {})
					d.work("a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
					old, _ := d.app().Active()
					d.list, d.noRemove = hook, true
					if _, err := d.reeve.db.AddWish(t.Context(), d.reeve.o.Tenant, d.subject.object, credential.Wish{Kind: credential.Promote, By: "test", At: d.clock.Now()}); err != nil {
						t.Fatal(err)
					}
					d.clock.Add(time.Second)
					d.work("the end of the old one", func(a credential.Application) bool {
						c, _ := a.Find(old.ID)
						return c.State == credential.Retired
					})
				}
				if !d.there(late) || d.lists != 2 {
					t.Errorf("the key that was just added is there again: %t, after %d lists\n%s", d.there(late), d.lists, d.describe())
				}
				for _, id := range d.subject.foreign {
					if !d.there(id) {
						t.Errorf("the key %s is gone", id)
					}
				}
			})
		}
	}
}

// TestLostByAListThatIsGone has somebody remove reeve's certificate before reeve has put
// back what another has lost by its registration. The next registration makes up for it.
func TestLostByAListThatIsGone(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	var late string
	d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
		if n == 1 {
			late = d.add()
			d.clock.Add(5 * time.Second)
		}
		return send()
	}
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	removed := false
	d.work("an active one", func(a credential.Application) bool {
		for _, c := range a.In(credential.Registered) {
			if !removed && d.clock.Now().Sub(c.Registered) > 20*time.Second {
				d.remove(c.KeyID)
				removed = true
			}
		}
		return hasActive(a)
	})
	if !removed || !d.there(late) {
		t.Errorf("reeve's certificate was removed: %t; the key that was just added is there again: %t, after %d lists\n%s", removed, d.there(late), d.lists, d.describe())
	}
}

// TestKilledAfterAList kills the process right after its list, of which a key is missing
// that was in it. The next process, which has to wait for the lease, puts it back.
func TestKilledAfterAList(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	lost := d.subject.foreign[0]
	d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if n == 1 {
			d.remove(lost)
			panic(killed{"after the list"})
		}
		return resp, err
	}
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	d.work("the end of the process", func(credential.Application) bool { return d.starts == 2 })
	if free, err := d.reeve.db.NextApplication(t.Context(), d.reeve.o.Tenant); err != nil || free.Sub(d.clock.Now()) > 90*time.Second {
		t.Errorf("the application waits for its lease until %v from now (%v)", free.Sub(d.clock.Now()), err)
	}
	d.work("an active one", hasActive)
	if !d.there(lost) || d.starts != 2 {
		t.Errorf("the key is there again: %t, after %d starts\n%s", d.there(lost), d.starts, d.describe())
	}
}

// TestKilledWhilePuttingBack kills the process before and after the list by which a key is
// put back.
func TestKilledWhilePuttingBack(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		d := newDuel(t)
		var late string
		d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
			switch {
			case n == 1:
				late = d.add()
				d.clock.Add(5 * time.Second)
			case n == 2 && after:
				if _, err := send(); err != nil {
					t.Error(err)
				}
				panic(killed{"after putting back"})
			case n == 2:
				panic(killed{"before putting back"})
			}
			return send()
		}
		d.first()
		if want := map[bool]int{false: 3, true: 2}[after]; !d.there(late) || d.lists != want || d.starts != 2 {
			t.Errorf("killed after it %t: the key is there again: %t, after %d lists and %d starts\n%s", after, d.there(late), d.lists, d.starts, d.describe())
		}
		entries, err := d.reeve.db.Journal(t.Context(), d.reeve.o.Tenant, d.subject.object, 0, 1000)
		if err != nil || !slices.ContainsFunc(entries, func(e store.JournalEntry) bool { return strings.Contains(e.Text, "is there again") }) {
			t.Errorf("killed after it %t: the journal does not say that it is there again (%v)", after, err)
		}
	}
}

// TestRemovedAfterAList has somebody remove a key of his own ten seconds after a list of
// reeve's. He wanted that: it is not put back.
func TestRemovedAfterAList(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	removed, at := d.subject.foreign[0], time.Time{}
	d.list = func(_ int, send func() (*http.Response, error)) (*http.Response, error) {
		at = d.clock.Now().Add(10 * time.Second)
		return send()
	}
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	d.work("an active one", func(a credential.Application) bool {
		if !at.IsZero() && !d.clock.Now().Before(at) && d.there(removed) {
			d.remove(removed)
		}
		return hasActive(a)
	})
	if d.there(removed) || d.lists != 1 {
		t.Errorf("the key is there again: %t, after %d lists\n%s", d.there(removed), d.lists, d.describe())
	}
}

// TestLostByPuttingBack has the answer lost to a list that puts a key back, after others
// were refused, when somebody has just added another key, which that list takes away. It is
// looked for at once, as long as replicas show it, and put back as well.
func TestLostByPuttingBack(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	var late []string
	d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
		switch n {
		case 2, 3, 4:
			return forbidden(), nil
		case 1, 5:
			late = append(late, d.add())
			d.clock.Add(5 * time.Second)
			resp, err := send()
			if n == 5 {
				return nil, errLost
			}
			return resp, err
		}
		return send()
	}
	d.first()
	for _, id := range late {
		if !d.there(id) {
			t.Errorf("the key %s is gone, after %d lists\n%s", id, d.lists, d.describe())
		}
	}
	if len(late) != 2 {
		t.Errorf("%d keys were added", len(late))
	}
}

// TestLostAndNotPutBack refuses the lists by which a key would be put back: after some
// tries the renewal goes on, and a person is told.
func TestLostAndNotPutBack(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	var late string
	d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
		if n > 1 {
			return forbidden(), nil
		}
		late = d.add()
		d.clock.Add(5 * time.Second)
		return send()
	}
	d.first()
	if d.lists != 1+restoreTries {
		t.Errorf("%d lists were sent, one of them the first", d.lists)
	}
	entries, err := d.reeve.db.Journal(t.Context(), d.reeve.o.Tenant, d.subject.object, 0, 1000)
	if err != nil || !slices.ContainsFunc(entries, func(e store.JournalEntry) bool {
		return e.Outcome == store.Failed && strings.Contains(e.Text, "still missing: "+late)
	}) {
		t.Errorf("the journal does not say that %s is missing (%v)\n%s", late, err, d.describe())
	}
}

// TestPuttingBackIsThrottled has Graph ask to wait more often than lists are tried by which
// a key is put back: that is no try, and is waited for.
func TestPuttingBackIsThrottled(t *testing.T) {
	t.Parallel()
	const wait = 5 * time.Minute
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			d := newDuel(t)
			var late string
			var asked time.Time
			d.list = func(n int, send func() (*http.Response, error)) (*http.Response, error) {
				if !asked.IsZero() && d.clock.Now().Sub(asked) < wait {
					t.Errorf("list %d comes %v after Graph asked to wait for %v", n, d.clock.Now().Sub(asked), wait)
				}
				switch {
				case n == 1:
					late = d.add()
					d.clock.Add(5 * time.Second)
				case n <= 2+restoreTries:
					asked = d.clock.Now()
					return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {fmt.Sprint(wait.Seconds())}}, Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}, nil
				}
				return send()
			}
			d.first()
			if !d.there(late) || d.lists != 3+restoreTries {
				t.Errorf("the key is there again: %t, after %d lists\n%s", d.there(late), d.lists, d.describe())
			}
		})
	}
}

// TestARestlessList has somebody change the list of keys all the time, so that reeve cannot
// replace it: a finding says so, and what was seen, until it is over.
func TestARestlessList(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	restless := func(a credential.Application) string {
		for _, f := range credential.Assess(d.clock.Now(), a) {
			if f.Rule == "list-restless" {
				return f.Message
			}
		}
		return ""
	}
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	begun, changes, at := d.clock.Now(), 0, d.clock.Now()
	var last string
	d.work("the finding", func(a credential.Application) bool {
		if d.clock.Now().Sub(at) >= 15*time.Second {
			at, changes = d.clock.Now(), changes+1
			if last != "" {
				d.remove(last)
			}
			last = d.add()
		}
		return restless(a) != ""
	})
	if took := d.clock.Now().Sub(begun); took < 5*time.Minute || took > 8*time.Minute || d.lists > 0 {
		t.Errorf("the finding came after %v, and %d lists were sent", took, d.lists)
	}
	if m := restless(d.app()); !strings.Contains(m, "has come") && !strings.Contains(m, "has gone") || changes < 10 {
		t.Errorf("after %d changes: %s", changes, m)
	}
	d.work("an active one", hasActive)
	if m := restless(d.app()); m != "" {
		t.Errorf("it is over: %s", m)
	}
}
