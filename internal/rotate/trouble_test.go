package rotate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// isStandby waits for a standby.
func isStandby(a credential.Application) bool { _, ok := a.Standby(); return ok }

// watched is a live place with something that happens before each use of it.
type watched struct {
	certstore.Target
	before func(ctx context.Context, c string) error // c is what is published; "" when it is read
}

func (p watched) Publish(ctx context.Context, pub certstore.Publication) error {
	if err := p.before(ctx, pub.CredentialID); err != nil {
		return err
	}
	return p.Target.Publish(ctx, pub)
}

func (p watched) Published(ctx context.Context) (pki.Pair, error) {
	if err := p.before(ctx, ""); err != nil {
		return pki.Pair{}, err
	}
	return p.Target.Published(ctx)
}

// watch lets the live places be folders in which before happens.
func (w *world) watch(before func(ctx context.Context, place, c string) error) {
	w.change = func(o *Options) {
		o.OpenTarget = func(name string) (certstore.Target, error) {
			ref, err := certstore.ParseTarget(name)
			if err != nil {
				return nil, err
			}
			target, err := ref.Open(certstore.TargetOptions{})
			if err != nil {
				return nil, err
			}
			return watched{target, func(ctx context.Context, c string) error { return before(ctx, filepath.Base(ref.Path), c) }}, nil
		}
	}
}

// TestANoticeThatIsRefused has notices that are too large for the outbox: certificates are
// renewed all the same, and people are told that there is something to see.
func TestANoticeThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Name, o.Policy.Subject = strings.Repeat("x", 70<<10), "CN=reeve" })
	w.until(r, time.Hour, "a standby", isStandby)
	old, _ := w.app().Active()
	w.wish(r, credential.Renew, "")
	w.until(r, time.Hour, "a renewal", func(a credential.Application) bool {
		c, _ := a.Active()
		return c.ID != old.ID
	})
	entries, err := w.db.Journal(t.Context(), w.tenant, w.object, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e store.JournalEntry) bool {
		return e.Step == stepTell && e.Outcome == store.Failed && strings.Contains(e.Text, KindRenewed)
	}) {
		t.Error("the journal does not say that a notice was refused")
	}
	if n, err := w.db.Outbox(w.tenant).Unaddressed(t.Context()); err != nil || n < 3 {
		t.Errorf("%d notices are to be sent, %v; one at least for each of two new certificates, and one for the renewal", n, err)
	}
}

// TestTroubleOfOne has one application whose step takes too long while for another the
// database fails: that one's step has its whole time, and its end is its own.
func TestTroubleOfOne(t *testing.T) {
	t.Parallel()
	w := newInside(t, 1, origin.Delays{})
	var asked atomic.Int32
	begun := make(chan struct{})
	cause := make(chan error, 1)
	p := w.start(filepath.Join(place(t), "reeve.db"), "one", openKeys(t, ""), 1, 0, func(o *Options) {
		o.Workers = 2
		o.NewKey = func(ctx context.Context, k pki.KeyType) (crypto.Signer, error) {
			switch asked.Add(1) {
			case 1:
				close(begun)
				<-ctx.Done()
				cause <- ctx.Err()
				return nil, ctx.Err()
			case 2:
				<-begun
				return nil, &store.Error{Doing: "writing to", Cause: "a test"}
			}
			return nextKey(ctx, k)
		}
	})
	p.callTime = 500 * time.Millisecond
	for _, s := range w.applications(2, func(int) time.Duration { return 180 * 24 * time.Hour }) {
		w.adopt(p, s, credential.Policy{}.Complete(w.cloud.GraphAudience))
	}
	var failed error
	for range 50 {
		if _, failed = p.Pass(t.Context()); failed != nil {
			break
		}
		w.clock.Add(time.Second)
	}
	var database *store.Error
	if !errors.As(failed, &database) {
		t.Fatalf("the pass ended with %v", failed)
	}
	if err := <-cause; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the other application's step ended because of %v", err)
	}
	all, err := p.db.Applications(t.Context(), p.o.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(a credential.Application) bool {
		return slices.ContainsFunc(a.Credentials, func(c credential.Credential) bool { return strings.Contains(c.Error, "it took longer than 500ms") })
	}) {
		t.Error("that a step took too long is not recorded")
	}
}

// TestASlowPlace publishes to two live places of which the first does not answer: the
// second has the certificate, and has had time enough.
func TestASlowPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	w.watch(func(ctx context.Context, place, _ string) error {
		if place == "slow" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	r := w.rotator()
	r.callTime = 2 * time.Second
	w.adopt(r, func(o *Adoption) {
		o.Policy.Targets = []string{"directory:" + filepath.Join(dir, "slow"), "directory:" + filepath.Join(dir, "quick")}
	})
	active := func(a credential.Application) credential.Credential { c, _ := a.Active(); return c }
	w.until(r, time.Minute, "the active one to be in the second place", func(a credential.Application) bool { return len(active(a).Published) > 0 })
	c := active(w.app())
	if want := "directory:" + filepath.Join(dir, "quick"); !slices.Equal(c.Published, []string{want}) || !strings.Contains(c.Error, "slow: it took longer than 2s") {
		t.Errorf("it is published to %v; %s", c.Published, c.Error)
	}
}

// TestAPlaceThatTakesNothing publishes to a file: it is tried ever more rarely, and said.
func TestAPlaceThatTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watch(func(context.Context, string, string) error { return nil })
	r := w.rotator()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.adopt(r, func(o *Adoption) { o.Policy.Targets = []string{"directory:" + file} })
	w.until(r, time.Hour, "it to be said", func(a credential.Application) bool {
		return slices.ContainsFunc(credential.Assess(w.clock.Now(), a), func(f credential.Finding) bool { return f.Rule == "certificate-stuck" })
	})
	end := w.clock.Now().Add(12 * time.Hour)
	w.until(r, 13*time.Hour, "half a day", func(credential.Application) bool { return w.clock.Now().After(end) })
	c, _ := w.app().Active()
	if tried := w.journal(c.ID, "publish", store.Intent); tried < 6 || tried > 25 {
		t.Errorf("it was tried %d times in half a day", tried)
	}
}

// TestKitOfAnAuthority makes a kit for an application whose certificates an authority
// signs: nothing is signed in its place.
func TestKitOfAnAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.Issuer, o.Pair = credential.IssuerRequest, pki.Pair{} })
	kit, err := r.MakeKit(t.Context(), w.object, "pat", "a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := w.app().Find(kit.Credential.ID); c.State != credential.Keyed || len(c.Certificate) > 0 {
		t.Fatalf("the credential is %s, with %d certificates", c.State, len(c.Certificate))
	}
	files := map[string]string{}
	for _, f := range kit.Files {
		files[f.Path] = string(f.Data)
	}
	if !strings.Contains(files["README.txt"], "reeve cert import "+w.Tenant.Client().ClientID) || strings.Contains(files["README.txt"], "{") || len(files) != 2 {
		t.Errorf("the kit is %q", files)
	}
	request, err := pki.Read([]byte(files["request.csr"]), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(request.Requests) != 1 {
		t.Fatalf("request.csr holds %d requests", len(request.Requests))
	}

	// The answer to somebody else's request is none, and changes nothing.
	key, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(public crypto.PublicKey) *pki.Contents {
		return &pki.Contents{Certificates: []*x509.Certificate{w.signed(public)}}
	}
	if _, err := r.Import(t.Context(), w.object, answer(key.Public()), "pat"); err == nil {
		t.Fatal("another's certificate is taken")
	}
	if c, _ := w.app().Find(kit.Credential.ID); c.State != credential.Keyed {
		t.Fatalf("after another's certificate it is %s", c.State)
	}
	if _, err := r.Import(t.Context(), w.object, answer(request.Requests[0].PublicKey), "pat"); err != nil {
		t.Fatal(err)
	}
	again, err := r.MakeKit(t.Context(), w.object, "pat", "a test", nil)
	if err != nil || again.Credential.ID != kit.Credential.ID || again.Credential.State != credential.Staged {
		t.Fatalf("the second kit is for %s, which is %s: %v", again.Credential.ID, again.Credential.State, err)
	}
	if !slices.ContainsFunc(again.Files, func(f certstore.NewFile) bool { return f.Path == "certificate.cer" }) {
		t.Error("the second kit has no certificate")
	}
}

// signed is a certificate of an authority for a public key.
func (w *world) signed(public crypto.PublicKey) *x509.Certificate {
	return w.signedFor(public, 365*24*time.Hour)
}

// signedFor is signed, with a lifetime.
func (w *world) signedFor(public crypto.PublicKey, life time.Duration) *x509.Certificate {
	w.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.clock.Now()
	template := &x509.Certificate{SerialNumber: serial, Subject: mustName(w.t, "CN=reeve"), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, template, w.pair.Certificate, public, w.pair.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

// TestALongStep publishes to so many slow places that it takes longer than a lease: nobody
// else gets the application meanwhile.
func TestALongStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	var places []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		places = append(places, "directory:"+filepath.Join(dir, name))
	}
	var tried int
	w.watch(func(ctx context.Context, _, c string) error {
		if c != "" {
			w.clock.Add(50 * time.Second)
			tried++
			if _, err := w.db.LeaseApplication(ctx, w.tenant, w.object, "another", time.Minute); !errors.Is(err, store.ErrLeased) {
				t.Errorf("before place %d another gets the lease: %v", tried, err)
			}
		}
		return nil
	})
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.Targets = places })
	w.until(r, time.Hour, "all places to have it", func(a credential.Application) bool {
		c, _ := a.Active()
		return len(c.Published) == len(places)
	})
	if tried != len(places) {
		t.Errorf("it was published %d times to %d places", tried, len(places))
	}
}

// TestOnlyWhatIsProvedIsPublished asks for a standby to be promoted that somebody has
// removed, and for another while no tokens are given: no program gets to see them.
func TestOnlyWhatIsProvedIsPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	var published []string
	w.watch(func(_ context.Context, _, id string) error {
		if id == "" {
			return nil
		}
		published = append(published, id)
		a := w.app()
		c, _ := a.Find(id)
		if since := w.clock.Now().Sub(c.Proved(a.Policy.Resources)).Abs(); since > time.Second || c.Refusals > 0 {
			t.Errorf("%s is published, and was proved %v ago, with %d refusals since", id, since, c.Refusals)
		}
		return nil
	})
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.Targets = []string{"directory:" + filepath.Join(dir, "live")} })
	w.until(r, time.Hour, "a standby", isStandby)
	removed, _ := w.app().Standby()
	if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, removed.KeyID); err != nil {
		t.Fatal(err)
	}
	w.clock.Add(2 * time.Minute)
	w.wish(r, credential.Promote, removed.ID)
	w.until(r, 2*time.Hour, "the removed one to be given up", func(a credential.Application) bool {
		c, _ := a.Find(removed.ID)
		return c.State == credential.Destroyed || c.State == credential.Lost || c.State == credential.Abandoned
	})
	w.until(r, 2*time.Hour, "another standby", isStandby)
	next, _ := w.app().Standby()
	if slices.Contains(published, removed.ID) {
		t.Error("the one that was removed has been published")
	}

	// The program lives on, and tokens are asked for in vain.
	down := &hostDown{next: w.HTTPClient().Transport, host: w.cloud.AuthorityHost}
	r.prover.HTTP = &http.Client{Transport: down}
	down.is.Store(true)
	w.wish(r, credential.Promote, next.ID)
	for range 50 {
		if _, err := r.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(time.Minute)
	}
	if c, _ := w.app().Find(next.ID); c.State != credential.Standby || slices.Contains(published, next.ID) {
		t.Errorf("without a token it is %s, and published: %v", c.State, published)
	}
	down.is.Store(false)
	w.until(r, time.Hour, "it to be active", func(a credential.Application) bool { c, _ := a.Active(); return c.ID == next.ID })
	if !slices.Contains(published, next.ID) {
		t.Errorf("published were %v", published)
	}
}

// TestKeyIsGone takes the private key of the active certificate out of the store: the
// standby takes over, and another is made.
func TestKeyIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", isStandby)
	active, _ := w.app().Active()
	standby, _ := w.app().Standby()
	if err := w.keys.Delete(t.Context(), active.ID); err != nil {
		t.Fatal(err)
	}
	said := false
	w.until(r, 25*time.Hour, "the standby to take over", func(a credential.Application) bool {
		c, _ := a.Active()
		said = said || c.ID == active.ID && strings.Contains(c.Remedy, "restore the certificate store")
		return c.ID == standby.ID
	})
	if !said {
		t.Error("what helps is not said")
	}
	w.until(r, 25*time.Hour, "a standby", isStandby)
}

// Writing connections, by the file of their database: a limit of SQLite's holds for the
// connection on which it was set.
var writers sync.Map

func init() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		file, options, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		if strings.Contains(options, "wal_autocheckpoint") {
			writers.Store(file, conn)
		}
		return nil
	})
}

// room lets a database grow by some pages at most. Nothing else may use it meanwhile.
func room(t testing.TB, file string, pages int64) {
	t.Helper()
	found, ok := writers.Load(file)
	if !ok {
		t.Fatalf("nobody writes to %s", file)
	}
	conn := found.(sqlite.ExecQuerierContext)
	rows, err := conn.QueryContext(t.Context(), "PRAGMA page_count", nil)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]driver.Value, 1)
	if err := rows.Next(values); err != nil {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	set, err := conn.QueryContext(t.Context(), "PRAGMA max_page_count = "+big.NewInt(values[0].(int64)+pages).String(), nil)
	if err == nil {
		err = set.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheDiskOfTheDatabaseIsFull lets the database grow no more, at several moments of a
// renewal: what is to be done is said, nothing is done twice or lost, and it goes on by
// itself when there is room.
func TestTheDiskOfTheDatabaseIsFull(t *testing.T) {
	t.Parallel()
	var full int
	for _, used := range []int{8, 9, 10, 12, 100} { // of what a renewal needs
		w := newWorld(t)
		foreign := w.foreign()
		r := w.rotator()
		w.adopt(r, func(o *Adoption) {
			o.Policy.Overlap, o.Policy.DestroyAfter = credential.Span(time.Hour), credential.Span(time.Hour)
		})
		w.until(r, time.Hour, "a standby", isStandby)
		old, _ := w.app().Active()
		w.wish(r, credential.Renew, "")
		file := filepath.Join(w.dir, "reeve.db")
		fill := func(bytes int) error {
			return w.db.AddJournal(t.Context(), w.tenant, w.object, store.JournalEntry{Actor: "test", Step: "test", Outcome: store.Done, Text: strings.Repeat("x", bytes)})
		}
		room(t, file, 0)
		for fill(300) == nil {
		}
		room(t, file, 2)
		for range used {
			fill(1500)
		}
		for range 60 {
			if _, err := r.Pass(t.Context()); err != nil {
				var database *store.Error
				if !errors.As(err, &database) || !strings.Contains(err.Error(), "no room left") || !strings.Contains(database.Remedy, "make room on the disk") {
					t.Fatalf("%d: %v", used, err)
				}
				full++
			}
			w.clock.Add(20 * time.Second)
			if c, ok := w.app().Active(); !ok || !w.knows(c) {
				t.Fatalf("%d: the active one is not at Entra ID\n%s", used, w.describe())
			}
		}
		room(t, file, 1<<20)
		t.Logf("with %d lines in its place: by then the database was full %d times; %v", used, full, states(w.app()))
		w.until(r, 10*24*time.Hour, "the renewal, and the end of the old one", func(a credential.Application) bool {
			c, _ := a.Find(old.ID)
			return c.State == credential.Destroyed && isStandby(a)
		})
		w.settled(foreign)
	}
	if full == 0 {
		t.Error("the database was never full")
	}
	t.Logf("%d passes found the database full", full)
}

// states are those of an application's credentials.
func states(a credential.Application) (all []credential.State) {
	for _, c := range a.Credentials {
		all = append(all, c.State)
	}
	return all
}

// fullKeys are a store of keys whose disk is full for a while.
type fullKeys struct {
	certstore.Store
	full atomic.Bool
}

func (f *fullKeys) Put(ctx context.Context, e certstore.Entry) error {
	if f.full.Load() {
		return &fs.PathError{Op: "write", Path: "keys/" + e.ID, Err: syscall.ENOSPC}
	}
	return f.Store.Put(ctx, e)
}

// TestTheDiskOfTheKeysIsFull lets no key be kept: Entra ID hears of none, what is to be
// done is said, and it goes on by itself when there is room.
func TestTheDiskOfTheKeysIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := &fullKeys{Store: openRealKeys(t, t.TempDir())}
	w.keys = keys
	r := w.rotator()
	w.adopt(r)
	before := w.atEntra()
	keys.full.Store(true)
	for range 20 {
		if _, err := r.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(time.Minute)
	}
	coming := w.app().In(credential.Planned)
	if len(coming) != 1 || !strings.Contains(coming[0].Remedy, "make room on the disk") || !coming[0].Stuck {
		t.Fatalf("what is to be done is not said\n%s", w.describe())
	}
	if len(w.atEntra()) != len(before) {
		t.Errorf("Entra ID has %d keys, and had %d", len(w.atEntra()), len(before))
	}
	keys.full.Store(false)
	w.until(r, 7*time.Hour, "a standby", isStandby)
	if c, _ := w.app().Standby(); c.ID != coming[0].ID {
		t.Error("another credential was begun")
	}
}

// knows reports whether Entra ID has a credential's certificate.
func (w *world) knows(c credential.Credential) bool {
	app, _ := w.Tenant.Directory.View(0).Application(w.object)
	return hasCertificate(app, c.Certificate[0])
}

// foreign is the id of the key that the demo application has of somebody else's.
func (w *world) foreign() string {
	w.t.Helper()
	keys := slices.DeleteFunc(slices.Clone(w.atEntra()), func(k directory.KeyCredential) bool { return bytes.Equal(k.Key, w.pair.Certificate.Raw) })
	if len(keys) != 1 {
		w.t.Fatalf("there are %d keys of others", len(keys))
	}
	return keys[0].KeyID
}

// settled makes sure that Entra ID has the active one, the standby and one of somebody
// else's, and the store the keys of these two alone.
func (w *world) settled(foreign string) {
	w.t.Helper()
	a := w.app()
	var want []string
	for _, c := range append(a.In(credential.Active), a.In(credential.Standby)...) {
		want = append(want, c.ID)
		if !w.knows(c) {
			w.t.Errorf("the %s one is not at Entra ID", c.State)
		}
	}
	slices.Sort(want)
	if kept, err := w.keys.List(w.t.Context()); err != nil || !slices.Equal(kept, want) {
		w.t.Errorf("the store has the keys of %v, %v; it should have %v", kept, err, want)
	}
	if now := w.atEntra(); len(now) != 3 || !slices.ContainsFunc(now, func(k directory.KeyCredential) bool { return k.KeyID == foreign }) {
		w.t.Errorf("Entra ID has %d keys; it should have the active one, the standby and that of somebody else\n%s", len(now), w.describe())
	}
}

// TestAnOldDatabaseIsPutBack puts the file of the database back that was copied before two
// renewals: what was made since is found, nobody's key is lost, and nothing is left over.
func TestAnOldDatabaseIsPutBack(t *testing.T) {
	onlyFiles(t)
	t.Parallel()
	w := newWorld(t)
	w.change = func(o *Options) { o.Directory = newDirectory(t, w.cloud, w.HTTPClient(), secretToken{w}) }
	r := w.rotator()
	short := func(o *Adoption) {
		o.Policy.Overlap, o.Policy.DestroyAfter = credential.Span(time.Hour), credential.Span(time.Hour)
	}
	foreign := w.foreign()
	w.adopt(r, short)
	w.until(r, time.Hour, "a standby", isStandby)
	file := filepath.Join(w.dir, "reeve.db")
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func() *Rotator {
		keys := w.keys
		w.open()
		w.keys = keys
		return w.rotator()
	}
	r = reopen()
	for range 2 {
		old, _ := w.app().Active()
		w.wish(r, credential.Renew, "")
		w.until(r, 10*24*time.Hour, "a renewal, and the end of the old one", func(a credential.Application) bool {
			c, _ := a.Find(old.ID)
			return c.State == credential.Destroyed && isStandby(a)
		})
	}
	inUse, _ := w.app().Active()
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	r = reopen()
	if found, err := r.Reconcile(t.Context()); err != nil || len(found) != 1 {
		t.Errorf("found were %q, %v", found, err)
	}
	w.until(r, time.Hour, "a certificate that works", func(a credential.Application) bool {
		c, ok := a.Active()
		return ok && c.Refusals == 0 && w.knows(c)
	})
	if c, _ := w.app().Active(); c.Generation <= inUse.Generation {
		t.Errorf("generation %d is given out after %d", c.Generation, inUse.Generation)
	}
	w.until(r, 60*24*time.Hour, "all to be settled", func(a credential.Application) bool {
		return !slices.ContainsFunc(a.Credentials, func(c credential.Credential) bool {
			return !slices.Contains([]credential.State{credential.Active, credential.Standby, credential.Destroyed}, c.State)
		})
	})
	w.settled(foreign)
}

// hostDown is a network in which one host answers 503 for a while, and counts how often
// it was asked then.
type hostDown struct {
	next  http.RoundTripper
	host  string
	is    atomic.Bool
	asked atomic.Int64
}

func (d *hostDown) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.is.Load() && strings.HasSuffix(d.host, "://"+r.URL.Host) {
		d.asked.Add(1)
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return d.next.RoundTrip(r)
}

// TestPublishedInPart has somebody remove a certificate that one live place has and
// another does not take: the first gets the active one again at once, and nothing of the
// other's private key stays there.
func TestPublishedInPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	refuses := false
	w.watch(func(_ context.Context, place, id string) error {
		if refuses && place == "second" && id != "" {
			return errors.New("it takes nothing")
		}
		return nil
	})
	r := w.rotator()
	first := filepath.Join(dir, "first")
	w.adopt(r, func(o *Adoption) {
		o.Policy.Targets = []string{"directory:" + first, "directory:" + filepath.Join(dir, "second")}
	})
	w.until(r, time.Hour, "a standby", isStandby)
	active, _ := w.app().Active()
	next, _ := w.app().Standby()
	has := func(folder, id string) bool {
		text, err := os.ReadFile(filepath.Join(first, folder, "credential.json"))
		return err == nil && strings.Contains(string(text), id)
	}
	refuses = true
	w.wish(r, credential.Promote, next.ID)
	w.until(r, time.Minute, "the first place to have it", func(credential.Application) bool { return has("current", next.ID) })
	if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, next.KeyID); err != nil {
		t.Fatal(err)
	}
	w.until(r, 4*time.Hour, "it to be given up", func(a credential.Application) bool {
		c, _ := a.Find(next.ID)
		return c.State != credential.Publishing
	})
	begun := w.clock.Now()
	w.until(r, 12*time.Hour, "the first place to have the active one again", func(credential.Application) bool { return has("current", active.ID) })
	if took := w.clock.Now().Sub(begun); took > time.Minute {
		t.Errorf("the first place had what Entra ID refuses for %v", took)
	}
	w.until(r, 60*24*time.Hour, "its key to be destroyed", func(a credential.Application) bool {
		c, ok := a.Find(next.ID)
		return !ok || c.State == credential.Destroyed
	})
	if has("previous", next.ID) || has("current", next.ID) {
		t.Errorf("the first place still has its private key\n%s", w.describe())
	}
}

// TestFindingsOfTwoProcesses has one process find something, and another that knew of
// nothing find that it is over.
func TestFindingsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.rotator(), w.rotator()
	w.adopt(one)
	tell := func(r *Rotator, gone bool) (told bool) {
		t.Helper()
		if err := r.under(t.Context(), w.object, func(k *work) error {
			k.a.Observed.Gone = gone
			return k.tell(t.Context())
		}); err != nil {
			t.Fatal(err)
		}
		found, err := w.db.Findings(t.Context(), w.tenant)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(found, func(f store.Finding) bool { return f.Rule == "application-gone" })
	}
	if tell(one, false) || !tell(other, true) {
		t.Fatal("this tests nothing")
	}
	if tell(one, false) {
		t.Error("the finding stays, although it is over")
	}
	if !tell(one, true) {
		t.Error("the finding is not told of again")
	}
}

// TestImportOfAShortCertificate imports what an authority gives less time than the policy
// asks for: a little less is taken, and told; what is hardly worth it is refused, and
// another answer may follow.
func TestImportOfAShortCertificate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.Issuer = credential.IssuerRequest })
	w.until(r, time.Hour, "one that waits", func(a credential.Application) bool { return len(a.In(credential.Keyed)) > 0 })
	active, _ := w.app().Active()
	e, err := w.keys.Get(t.Context(), w.app().In(credential.Keyed)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	take := func(life time.Duration) (credential.Credential, error) {
		return r.Import(t.Context(), w.object, &pki.Contents{Certificates: []*x509.Certificate{w.signedFor(e.Key.Public(), life)}}, "pat")
	}
	for what, c := range map[string]struct {
		life time.Duration
		says string
	}{
		"a day":                              {day, "would have to be replaced"},
		"until before the one in use is due": {min(60*day, active.RenewAt.Sub(w.clock.Now())-time.Hour), "ends before the one in use"},
	} {
		if _, err := take(c.life); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c, err := take(170 * day)
	if err != nil || !c.NotAfter.Equal(w.clock.Now().Add(170*day)) || w.app().In(credential.Certified) == nil {
		t.Fatalf("170 days: %v, until %v", err, c.NotAfter)
	}
	entries, err := w.db.Journal(t.Context(), w.tenant, w.object, 0, 1000)
	if err != nil || !slices.ContainsFunc(entries, func(e store.JournalEntry) bool { return strings.Contains(e.Text, "the policy asks for 180d") }) {
		t.Errorf("the journal does not say that it is short (%v)\n%s", err, w.describe())
	}
}

// TestTwoDatabases has two reeves that do not share a database look after one application,
// with one live place: they do not publish over each other for ever, and a finding tells.
func TestTwoDatabases(t *testing.T) {
	t.Parallel()
	one := newWorld(t)
	two := *one
	two.dir = t.TempDir()
	two.open()
	place := "directory:" + filepath.Join(t.TempDir(), "live")
	published := 0
	var rotators []*Rotator
	for _, w := range []*world{one, &two} {
		w.watch(func(_ context.Context, _, c string) error {
			if c != "" {
				published++
			}
			return nil
		})
		change := w.change
		w.change = func(o *Options) { change(o); o.Rhythm.Look = time.Hour }
		rotators = append(rotators, w.rotator())
		w.adopt(rotators[len(rotators)-1], func(o *Adoption) { o.Policy.Targets = []string{place} })
	}
	contested := func(w *world) string {
		for _, f := range credential.Assess(w.clock.Now(), w.app()) {
			if f.Rule == "target-contested" {
				return f.Message
			}
		}
		return ""
	}
	one.until(rotators[0], time.Hour, "a standby", isStandby)
	two.until(rotators[1], time.Hour, "a standby", isStandby)
	old, _ := one.app().Active()
	one.wish(rotators[0], credential.Promote, "")
	one.until(rotators[0], time.Hour, "another one", func(a credential.Application) bool { c, _ := a.Active(); return c.ID != old.ID })
	days := func(n int) {
		t.Helper()
		for end := one.clock.Now().AddDate(0, 0, n); one.clock.Now().Before(end); one.clock.Add(10 * time.Minute) {
			for _, r := range rotators {
				if _, err := r.Pass(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	published = 0
	days(4)
	// Three each, and then one a day each.
	if published < 6 || published > 2*(3+4) {
		t.Errorf("in four days it was published %d times", published)
	}
	if a, b := contested(one), contested(&two); !strings.Contains(a, place) || !strings.Contains(a, "another reeve") || !strings.Contains(b, place) {
		t.Errorf("the findings are %q and %q", a, b)
	}
	// One of them is ended: the other has the place, and in the end forgets it.
	rotators = rotators[:1]
	days(3)
	if m := contested(one); m != "" || len(one.app().Observed.Contests) > 0 {
		t.Errorf("the other is gone, and the finding is %q, of %+v", m, one.app().Observed.Contests)
	}
	pair, err := certstoreTarget(t, place).Published(t.Context())
	if active, _ := one.app().Active(); err != nil || pki.SHA256(pair.Certificate) != active.SHA256 {
		t.Errorf("the place has %v (%v)", pair, err)
	}
}

func certstoreTarget(t *testing.T, name string) certstore.Target {
	t.Helper()
	ref, err := certstore.ParseTarget(name)
	if err != nil {
		t.Fatal(err)
	}
	target, err := ref.Open(certstore.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return target
}
