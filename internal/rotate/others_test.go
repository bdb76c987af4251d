package rotate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/store"
)

// writer is one who changes an application, with a record of what each of its changes
// took away: the directory is looked at right before and after.
type writer struct {
	w      *inside
	object string
	took   []string // key ids
}

func (o *writer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || r.URL.Host != "graph.inside.test" {
		return o.w.RoundTrip(r)
	}
	before := o.w.keyIDs(o.object)
	resp, err := o.w.RoundTrip(r)
	after := o.w.keyIDs(o.object)
	for _, id := range before {
		if !slices.Contains(after, id) {
			o.took = append(o.took, id)
		}
	}
	return resp, err
}

func (w *inside) keyIDs(object string) (ids []string) {
	app, _ := w.tenant.Directory.View(0).Application(object)
	for _, k := range app.KeyCredentials {
		ids = append(ids, k.KeyID)
	}
	return ids
}

// stranger is another program that changes the keys of an application by means of its
// own, and knows nothing of reeve. It holds a certificate of the application.
type stranger struct {
	*writer
	t      testing.TB
	random *mathrand.Rand
	client *http.Client
	token  string
	base   string

	key  *rsa.PrivateKey
	der  []byte
	own  []string // its keys that it believes to be there
	read []any    // the list that it read and is about to write
	done int      // changes that were made
}

func (w *inside) newStranger(s *subject, seed uint64) *stranger {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := w.GetToken(w.t.Context(), policy.TokenRequestOptions{Scopes: []string{w.cloud.GraphAudience + "/.default"}})
	if err != nil {
		w.t.Fatal(err)
	}
	o := &stranger{writer: &writer{w: w, object: s.object}, t: w.t, random: mathrand.New(mathrand.NewPCG(seed, 5)), key: key, token: token.Token,
		base: w.cloud.Graph + "/v1.0/applications/" + s.object}
	o.client = &http.Client{Transport: o.writer}
	o.der = o.certificate()
	if _, err := w.tenant.Directory.AddKeyCredential(s.client, o.der, time.Time{}, time.Time{}); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range w.keyIDs(s.object) {
		if !slices.Contains(s.foreign, id) {
			s.foreign = append(s.foreign, id) // all but the one that reeve goes on with
		}
	}
	w.clock.Add(2 * time.Minute)
	return o
}

// certificate makes one more of its certificates.
func (o *stranger) certificate() []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		o.t.Fatal(err)
	}
	now := o.w.clock.Now()
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "stranger"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(2, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &o.key.PublicKey, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return der
}

// proof is what addKey and removeKey want.
func (o *stranger) proof() string {
	encode := base64.RawURLEncoding.EncodeToString
	sum := sha1.Sum(o.der)
	now := o.w.clock.Now().Unix()
	text := encode([]byte(`{"alg":"RS256","typ":"JWT","x5t":"`+encode(sum[:])+`"}`)) + "." +
		encode(fmt.Appendf(nil, `{"aud":"00000002-0000-0000-c000-000000000000","iss":%q,"nbf":%d,"exp":%d}`, o.object, now, now+300))
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, o.key, crypto.SHA256, digest[:])
	if err != nil {
		o.t.Fatal(err)
	}
	return text + "." + encode(signature)
}

// send sends a request and reports whether it was carried out. It is sent once.
func (o *stranger) send(method, url string, body any, into any) bool {
	o.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+o.token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusConflict, resp.StatusCode >= 500:
		return false
	case resp.StatusCode >= 300:
		// The list that it read was stale, or its key is not there any more, which shows at
		// the end.
		if resp.StatusCode == http.StatusBadRequest && (method == http.MethodPatch || strings.HasSuffix(url, "/removeKey")) {
			return false
		}
		o.t.Fatalf("the other program was refused: %s %s: %s %s", method, url, resp.Status, answer)
	}
	if into != nil && json.Unmarshal(answer, into) != nil {
		return false
	}
	return true
}

// roll adds a key of its own, or removes one, by addKey and removeKey.
func (o *stranger) roll() {
	if len(o.own) < 3 || len(o.own) < 12 && o.random.IntN(2) == 0 {
		var added struct{ KeyID string }
		if o.send("POST", o.base+"/addKey", map[string]any{
			"keyCredential":      map[string]any{"type": "AsymmetricX509Cert", "usage": "Verify", "key": o.certificate()},
			"passwordCredential": nil, "proof": o.proof(),
		}, &added) {
			o.own = append(o.own, added.KeyID)
			o.done++
		}
		return
	}
	i := o.random.IntN(len(o.own))
	if o.send("POST", o.base+"/removeKey", map[string]any{"keyId": o.own[i], "proof": o.proof()}, nil) {
		o.own = slices.Delete(o.own, i, i+1)
		o.done++
	}
}

// look reads the list in order to change it.
func (o *stranger) look() {
	var app struct {
		KeyCredentials []any `json:"keyCredentials"`
	}
	if o.send("GET", o.base+"?$select=keyCredentials", nil, &app) {
		o.read = app.KeyCredentials
	}
}

// write writes the list that it read, with one key of its own more or less. Of what is
// not in it, it believes that it is gone.
func (o *stranger) write() {
	list, was := o.read, slices.Clone(o.own)
	o.read = nil
	idOf := func(k any) string { return k.(map[string]any)["keyId"].(string) }
	isOwn := func(k any) bool { return slices.Contains(o.own, idOf(k)) }
	i := slices.IndexFunc(list, isOwn)
	if i < 0 || len(o.own) < 3 || len(o.own) < 12 && o.random.IntN(2) == 0 {
		list = append(list, map[string]any{"keyId": uuid.NewString(), "type": "AsymmetricX509Cert", "usage": "Verify", "key": o.certificate()})
		o.own = append(o.own, idOf(list[len(list)-1]))
	} else {
		list = slices.Delete(list, i, i+1)
	}
	if !o.send("PATCH", o.base, map[string]any{"keyCredentials": list}, nil) {
		o.own = was
		return
	}
	o.done++
	// Of what its own write has left out, it knows that it is gone.
	o.own = slices.DeleteFunc(o.own, func(id string) bool {
		return !slices.ContainsFunc(list, func(k any) bool { return idOf(k) == id })
	})
}

// match is reeve and another program at one application.
type match struct {
	*inside
	t       testing.TB
	subject *subject
	reeve   *process
	writes  *writer // reeve's
	keys    *shelf
	other   *stranger
	random  *mathrand.Rand

	file     string
	due      time.Time
	renewals int
	active   string
}

func newMatch(t testing.TB, seed uint64, adopt bool) *match {
	w := newInside(t, seed, origin.UsualDelays)
	m := &match{inside: w, t: t, keys: openKeys(t, "").(*shelf), random: mathrand.New(mathrand.NewPCG(seed, 11))}
	m.subject = w.applications(1, func(int) time.Duration { return 180 * 24 * time.Hour })[0]
	ours := slices.DeleteFunc(w.keyIDs(m.subject.object), func(id string) bool { return slices.Contains(m.subject.foreign, id) })
	m.other = w.newStranger(m.subject, seed)
	if adopt {
		m.subject.foreign = slices.DeleteFunc(m.subject.foreign, func(id string) bool { return slices.Contains(ours, id) })
	}
	m.writes = &writer{w: w, object: m.subject.object}
	m.file = filepath.Join(place(t), "reeve.db")
	m.reeve = w.start(m.file, "reeve", m.keys, seed, 0, func(o *Options) {
		o.HTTP = &http.Client{Transport: m.writes}
		o.Directory = newDirectory(t, w.cloud, o.HTTP, w)
	})
	policy := credential.Policy{Overlap: credential.Span(time.Hour), DestroyAfter: credential.Span(time.Hour)}.Complete(w.cloud.GraphAudience)
	w.adopt(m.reeve, m.subject, policy, func(a *Adoption) {
		if !adopt {
			a.Pair.Certificate = nil
		}
	})
	m.due = w.clock.Now()
	return m
}

// work lets reeve do what is due, and asks for a renewal when the last one is over.
func (m *match) work(renew bool) {
	ctx := context.Background()
	next, err := m.reeve.Work(ctx, m.subject.object)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, m.describe())
	}
	a := m.app()
	active, _ := a.Active()
	if active.ID != m.active {
		if m.active, m.renewals = active.ID, m.renewals+1; m.renewals%20 == 0 {
			forget(m.t, m.file)
		}
	}
	// Each renewal makes a new one, whatever waits.
	if renew && len(a.Wishes) == 0 && active.ID != "" && m.clock.Now().Sub(active.Promoted) > 5*time.Minute {
		if _, err := m.reeve.db.AddWish(ctx, m.reeve.o.Tenant, m.subject.object, credential.Wish{Kind: credential.Renew, By: "test", At: m.clock.Now()}); err != nil {
			m.t.Fatal(err)
		}
		next = m.clock.Now()
	}
	m.due = next
	if active.ID != "" {
		s := *m.subject
		s.foreign = nil // those are judged by who took them away
		if why := m.outage(&s, active); why != "" {
			m.t.Fatalf("%s\n%s", why, m.describe())
		}
	}
}

func (m *match) app() credential.Application {
	a, err := m.reeve.db.Application(context.Background(), m.reeve.o.Tenant, m.subject.object)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		m.t.Fatal(err)
	}
	return a
}

func (m *match) describe() string {
	return describe(m.reeve.db, m.reeve.o.Tenant, m.subject.object, m.clock.Now())
}

// moveTo moves the clock.
func (m *match) moveTo(at time.Time) { m.clock.Add(max(at.Sub(m.clock.Now()), time.Millisecond)) }

// fight lets both go on until the other program has made so many changes, and then reeve
// alone until everything is at rest. turn is what the other one does next, and after how
// long it does something again.
func (m *match) fight(changes int, turn func() time.Duration) {
	next := m.clock.Now()
	for m.other.done < changes {
		if m.due.Before(next) {
			m.moveTo(m.due)
			m.work(true)
			continue
		}
		m.moveTo(next)
		next = m.clock.Now().Add(turn())
	}
	m.rest()
}

func (m *match) rest() {
	for end := m.clock.Now().Add(6 * time.Hour); m.due.Before(end); {
		m.moveTo(m.due)
		m.work(false)
	}
}

// judge says what is wrong at the end.
func (m *match) judge() (wrong []string) {
	there := m.keyIDs(m.subject.object)
	ours := m.ourIDs()
	for _, id := range m.writes.took {
		if !ours[id] {
			wrong = append(wrong, "a change by reeve took away "+id+", which is somebody else's")
		}
	}
	for _, id := range m.other.own {
		if !slices.Contains(there, id) {
			wrong = append(wrong, "the other program's key "+id+" is gone")
		}
	}
	here := map[string]int{}
	for _, k := range m.keyCredentials() {
		here[string(k.Key)]++
	}
	for _, c := range m.app().Credentials {
		if len(c.Certificate) == 0 {
			continue
		}
		n := here[string(c.Certificate[0])]
		must := c.State == credential.Active || c.State == credential.Standby || c.State == credential.Draining
		if n > 1 || must && n == 0 || n == 1 && !c.State.AtEntra() {
			wrong = append(wrong, fmt.Sprintf("%s is %s, and is %d times at Entra ID", c.ID, c.State, n))
		}
	}
	if _, err := m.reeve.db.CheckJournal(context.Background(), m.reeve.o.Tenant, m.subject.object); err != nil {
		wrong = append(wrong, err.Error())
	}
	return wrong
}

func (m *match) keyCredentials() []directory.KeyCredential {
	app, _ := m.tenant.Directory.View(0).Application(m.subject.object)
	return app.KeyCredentials
}

// ourIDs are the key ids that reeve's certificates have or had, by the journal.
func (m *match) ourIDs() map[string]bool {
	ids := map[string]bool{}
	for after := int64(0); ; {
		entries, err := m.reeve.db.Journal(context.Background(), m.reeve.o.Tenant, m.subject.object, after, 1000)
		if err != nil {
			m.t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			var data struct {
				KeyID string `json:"key_id"`
			}
			if len(e.Data) > 0 && json.Unmarshal(e.Data, &data) == nil && e.Credential != "" {
				for _, id := range strings.Fields(data.KeyID) {
					ids[id] = true
				}
			}
		}
		after = entries[len(entries)-1].Seq
	}
	for _, c := range m.app().Credentials {
		ids[c.KeyID] = true
	}
	return ids
}

// changesOf is how often the other program is to change something.
func changesOf(usual, long int) int {
	n := usual
	if os.Getenv("TEST_LONG") != "" {
		n = long
	}
	if raceEnabled {
		n = max(1, usual/10)
	}
	if given, err := strconv.Atoi(os.Getenv("TEST_CHANGES")); err == nil {
		n = given
	}
	return n
}

// TestOthersAddKeys renews again and again while another program adds and removes keys of
// its own by addKey and removeKey. Since neither writes lists, none may ever be missing.
func TestOthersAddKeys(t *testing.T) {
	t.Parallel()
	m := newMatch(t, 1, true)
	began, from := time.Now(), m.clock.Now()
	m.fight(changesOf(150, 10000), func() time.Duration {
		m.other.roll()
		return time.Duration(m.random.ExpFloat64() * float64(20*time.Second))
	})
	for _, why := range m.judge() {
		t.Error(why)
	}
	t.Logf("%d changes by the other program and %d renewals in %v, of real time %v", m.other.done, m.renewals, m.clock.Now().Sub(from).Round(time.Minute), time.Since(began).Round(time.Second))
	if t.Failed() {
		t.Log(m.describe())
	}
}

// TestOthersWriteLists is the same with another program that replaces the whole list by
// what it read, from a replica that may lag by 30 seconds, and up to 5 seconds before. It
// takes away keys by that, its own and reeve's; reeve must get over it without an outage,
// and take away nothing of anybody else's.
func TestOthersWriteLists(t *testing.T) {
	t.Parallel()
	m := newMatch(t, 2, true)
	began, from := time.Now(), m.clock.Now()
	m.fight(changesOf(150, 10000), func() time.Duration {
		if m.other.read == nil {
			m.other.look()
			return time.Duration(m.random.Int64N(int64(5 * time.Second)))
		}
		m.other.write()
		return time.Duration(m.random.ExpFloat64() * float64(30*time.Second))
	})
	for _, why := range m.judge() {
		t.Error(why)
	}
	ours := m.ourIDs()
	taken := 0
	for _, id := range m.other.took {
		if ours[id] {
			taken++
		}
	}
	t.Logf("%d changes by the other program and %d renewals in %v, of real time %v; the other program took away %d keys, of which %d were reeve's",
		m.other.done, m.renewals, m.clock.Now().Sub(from).Round(time.Minute), time.Since(began).Round(time.Second), len(m.other.took), taken)
	if t.Failed() {
		t.Log(m.describe())
	}
}

// TestOthersAtTheFirst lets reeve register an application's first certificate, which goes
// by the whole list, while another program adds keys by addKey.
func TestOthersAtTheFirst(t *testing.T) {
	t.Parallel()
	runs, lost, restored := changesOf(20, 400), 0, 0
	began := time.Now()
	for run := range runs {
		m := newMatch(t, uint64(100+run), false)
		next := m.clock.Now()
		for end := m.clock.Now().Add(2 * time.Hour); m.active == "" && m.clock.Now().Before(end); {
			if m.due.Before(next) {
				m.moveTo(m.due)
				m.work(false)
				continue
			}
			m.moveTo(next)
			if m.other.done < 20 { // it must come to an end, for reeve waits until nobody writes
				m.other.roll()
			}
			next = m.clock.Now().Add(time.Duration(m.random.ExpFloat64() * float64(30*time.Second)))
		}
		m.rest()
		if m.active == "" {
			t.Fatalf("nothing became active\n%s", m.describe())
		}
		there, ours := m.keyIDs(m.subject.object), m.ourIDs()
		for _, id := range m.writes.took {
			if !ours[id] && slices.Contains(there, id) {
				restored++
			}
		}
		for _, id := range append(slices.Clone(m.other.own), m.subject.foreign...) {
			if !slices.Contains(there, id) {
				lost++
				took := slices.Contains(m.writes.took, id)
				t.Logf("run %d: the key %s of somebody else is gone, and that a change by reeve took it away is %v", run, id, took)
			}
		}
	}
	t.Logf("%d first registrations by the whole list while another program added and removed keys: %d keys of others were lost and put back, %d are missing at the end; %v of real time", runs, restored, lost, time.Since(began).Round(time.Second))
	if lost > 0 {
		t.Errorf("%d keys of others are missing", lost)
	}
}
