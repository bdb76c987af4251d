//go:build unix

package app

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
)

// TestServeIsKilled kills the program with SIGKILL again and again, at moments that a seed
// draws, while it renews many applications at once, so that a blow falls on several steps.
// Time is real, and replicas lag as is usual. All the while a program reads each
// application's certificate from its live place, and obtains a token with it.
//
// With TEST_LONG=1 it is killed 200 times. What a dead process had a lease on waits until
// that has run out, as it would outside; the short form ends such leases itself, because
// they last 90 seconds, and does not wait until what was replaced is retired.
func TestServeIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	t.Parallel()
	long := os.Getenv("TEST_LONG") != ""
	kills, applications, rest, seed := 5, 8, 5*time.Minute, uint64(1)
	if long {
		kills, applications, rest = 200, 60, 20*time.Minute
	}
	if n, err := strconv.ParseUint(os.Getenv("TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	k := newKilled(t, seed, applications)
	k.long = long
	bin := filepath.Join(t.TempDir(), "reeve")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/reeve").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	// Until each live place has something, nobody can read it.
	run := k.start(bin)
	k.until("each live place to have a certificate", 2*time.Minute, func() bool {
		for _, v := range k.victims {
			if _, err := os.Stat(v.live); v.live != "" && err != nil {
				return false
			}
		}
		return true
	})
	watching, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		k.watch(watching)
	}()
	defer func() {
		stop()
		<-watched
	}()
	began := time.Now()
	var dead []string // the applications that a process has a lease on which was killed before
	for range kills {
		k.wish()
		k.wait(run)
		run.kill()
		k.look(dead)
		if !k.long {
			k.endLeases()
		}
		dead = k.leased()
		run = k.start(bin)
	}
	killing := time.Since(began)
	k.rest(rest)
	run.end()
	stop()
	<-watched
	k.judge()
	t.Logf("killed %d times in %v; %d times an application was being worked on, with credentials that were %v", kills, killing.Round(time.Second), k.struck, k.states)
	t.Logf("%d changes of the certificate in use; %d tokens, %d failed; at rest after %v", k.changes(), k.asked.Load(), k.failed.Load(), (time.Since(began) - killing).Round(time.Second))
	if k.struck == 0 {
		t.Error("no blow fell on an application that was being worked on")
	}
}

// killed is a tenant of many applications, whose certificates a process renews that is
// killed again and again.
type killed struct {
	*served
	long    bool
	app     *App
	random  *rand.Rand
	victims []*victim

	struck int            // how often an application was being worked on when a blow fell
	states map[string]int // of its credentials then, those that were on their way

	asked, failed atomic.Int64 // token requests of the programs
}

// victim is one application.
type victim struct {
	object, client, name string
	live                 string // the file that a program reads; empty for reeve's own
	foreign              []directory.KeyCredential
	secrets              []directory.PasswordCredential
	used                 map[string]bool // the credentials that were the active one
}

func newKilled(t *testing.T, seed uint64, applications int) *killed {
	t.Helper()
	delays := origin.UsualDelays
	k := &killed{
		served: newServedWith(t, emulator.Options{Delays: &delays, Seed: seed}, "REEVE_FEEDS_AUDIT_ENABLED=false", "REEVE_VAULT_URL="),
		random: rand.New(rand.NewPCG(seed, 9)), states: map[string]int{},
	}
	k.app = k.setup()
	t.Cleanup(func() { k.app.Close() })
	d := k.tenant.Directory
	key, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	pairs := make([]pki.Pair, applications)
	lives := t.TempDir()
	for i := range pairs {
		v := &victim{name: fmt.Sprint("application ", i+1), live: filepath.Join(lives, fmt.Sprint(i+1), "current", "certificate.pem")}
		entra := d.NewApplication(v.name)
		v.object, v.client = entra.ID, entra.AppID
		for n := range 3 {
			name, err := pki.ParseName(fmt.Sprintf("CN=%s certificate %d", v.name, n))
			if err != nil {
				t.Fatal(err)
			}
			if pairs[i], err = pki.SelfSign(key, pki.Template{Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}); err != nil {
				t.Fatal(err)
			}
			if _, err := d.AddKeyCredential(v.client, pairs[i].Certificate.Raw, time.Time{}, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.AddPassword(v.client, "a secret of somebody else", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		k.victims = append(k.victims, v)
	}
	own, _ := d.View(0).ApplicationByAppID(k.tenant.Client().ClientID)
	k.victims = append(k.victims, &victim{object: own.ID, client: own.AppID, name: own.DisplayName})
	pairs = append(pairs, pki.Pair{Certificate: k.tenant.Client().Certificate, Key: k.tenant.Client().Key})
	d.Settle()
	r := k.rotator()
	for i, v := range k.victims {
		v.used = map[string]bool{}
		entra, _ := d.View(0).Application(v.object)
		for _, key := range entra.KeyCredentials {
			if !bytes.Equal(key.Key, pairs[i].Certificate.Raw) {
				v.foreign = append(v.foreign, key)
			}
		}
		v.secrets = entra.PasswordCredentials
		policy := credential.Policy{DestroyAfter: credential.Span(time.Second)}
		if v.live != "" {
			policy.Targets = []string{"directory:" + filepath.Dir(filepath.Dir(v.live))}
		}
		if _, err := r.Adopt(t.Context(), rotate.Adoption{
			ObjectID: v.object, ClientID: v.client, TenantID: k.tenant.ID, Name: v.name, Mode: credential.On,
			Policy: policy.Complete(k.app.Cloud.GraphAudience), Pair: pairs[i], By: "test",
		}); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// rotator is that of this process, which looks and carries nothing out.
func (k *killed) rotator() *rotate.Rotator {
	k.t.Helper()
	r, err := k.app.rotation(k.t.Context(), nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// doomed is a process that is to be killed.
type doomed struct {
	*process
	cmd *exec.Cmd
}

func (k *killed) start(bin string) *doomed {
	k.t.Helper()
	b := &doomed{process: &process{t: k.t, done: make(chan struct{})}, cmd: exec.Command(bin, "serve", "--role", roleCredentials)}
	b.cmd.Env, b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = k.environ, k.t.TempDir(), &b.out, &b.err
	b.stop = func() { b.cmd.Process.Signal(syscall.SIGTERM) }
	if err := b.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	go func() {
		defer close(b.done)
		b.cmd.Wait()
		b.code = b.cmd.ProcessState.ExitCode()
	}()
	k.t.Cleanup(func() {
		b.cmd.Process.Kill()
		<-b.done
		if k.t.Failed() && b.code > 0 {
			k.t.Logf("a process ended with %d:\n%s", b.code, b.err.String())
		}
	})
	return b
}

// kill gives the process no chance to do anything more.
func (b *doomed) kill() {
	b.t.Helper()
	select {
	case <-b.done:
		b.t.Fatalf("it ended by itself with %d:\n%s", b.code, b.err.String())
	default:
	}
	b.cmd.Process.Kill()
	<-b.done
	for line := range strings.Lines(b.err.String()) {
		for _, bad := range []string{"panic", "database disk image", "A private key that the database did not know"} {
			if strings.Contains(line, bad) {
				b.t.Errorf("before it was killed it said: %s", line)
			}
		}
	}
}

// wait lasts until the moment of a blow: one in ten falls while the program starts, the
// others after so many steps that were done, or when that takes too long. The short form
// has few blows and few applications: its blows wait until one is being worked on.
func (k *killed) wait(b *doomed) {
	steps, limit := 1+k.random.IntN(30), time.Duration(1000+k.random.IntN(5000))*time.Millisecond
	late := time.Duration(k.random.IntN(150)) * time.Millisecond // a step is logged at its end
	if k.random.IntN(10) == 0 {
		steps, late = 0, 10*late
	}
	k.await(b, limit*k.pace(), func() bool { return strings.Count(b.err.String(), "A certificate moved on.") >= steps })
	<-time.After(late)
	if !k.long {
		k.await(b, 40*time.Second, func() bool { return len(k.leased()) > 0 })
	}
}

// pace is how many times longer the short form waits for a blow, so that some fall on the
// end of a renewal.
func (k *killed) pace() time.Duration {
	if k.long {
		return 1
	}
	return 3
}

// await waits until something is so, for a while at most.
func (k *killed) await(b *doomed, limit time.Duration, ok func() bool) {
	end := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-b.done:
			return
		case <-end:
			return
		}
	}
}

// applications reads all of them, and notes which credentials are in use.
func (k *killed) applications() map[string]credential.Application {
	k.t.Helper()
	all, err := k.db.Applications(k.t.Context(), k.number)
	if err != nil {
		k.t.Fatal(err)
	}
	by := map[string]credential.Application{}
	for _, a := range all {
		by[a.ObjectID] = a
	}
	for _, v := range k.victims {
		a := by[v.object]
		if c, ok := a.Active(); ok {
			v.used[c.ID] = true
		}
	}
	return by
}

func (k *killed) changes() (n int) {
	for _, v := range k.victims {
		n += len(v.used) - 1
	}
	return n
}

// wish asks for something new where nothing is under way.
func (k *killed) wish() {
	k.t.Helper()
	by := k.applications()
	for _, v := range k.victims {
		a := by[v.object]
		if len(a.Wishes) > 0 || k.random.IntN(2) == 0 {
			continue
		}
		kinds := []credential.WishKind{credential.Renew, credential.Renew, credential.Promote}
		if len(a.In(credential.Draining)) > 0 {
			kinds = []credential.WishKind{credential.Retire, credential.Retire, credential.Rollback, credential.Renew}
		}
		k.ask(v, kinds[k.random.IntN(len(kinds))])
	}
}

func (k *killed) ask(v *victim, kind credential.WishKind) {
	k.t.Helper()
	if _, err := k.db.AddWish(k.t.Context(), k.number, v.object, credential.Wish{Kind: kind, By: "test", At: time.Now().UTC()}); err != nil {
		k.t.Fatal(err)
	}
}

// leased lists the applications that somebody has a lease on.
func (k *killed) leased() (ids []string) {
	k.t.Helper()
	free, err := k.db.DueApplications(k.t.Context(), k.number, time.Now(), time.Unix(0, 0), len(k.victims))
	if err != nil {
		k.t.Fatal(err)
	}
	for _, v := range k.victims {
		if !slices.Contains(free, v.object) {
			ids = append(ids, v.object)
		}
	}
	return ids
}

// look sees what a blow fell on, besides the applications that were left by earlier ones,
// and that nothing of others is lost.
func (k *killed) look(dead []string) {
	k.t.Helper()
	leased, by := k.leased(), k.applications()
	for _, v := range k.victims {
		k.others(v)
		if !slices.Contains(leased, v.object) || slices.Contains(dead, v.object) {
			continue
		}
		k.struck++
		for _, c := range by[v.object].Credentials {
			if c.State.Coming() || slices.Contains([]credential.State{credential.Publishing, credential.Retiring, credential.Retired, credential.Abandoned}, c.State) {
				k.states[string(c.State)]++
			}
		}
	}
}

// others sees that what others have at Entra ID is there.
func (k *killed) others(v *victim) {
	k.t.Helper()
	entra, _ := k.tenant.Directory.View(0).Application(v.object)
	for _, f := range v.foreign {
		if !slices.ContainsFunc(entra.KeyCredentials, func(have directory.KeyCredential) bool {
			return have.KeyID == f.KeyID && bytes.Equal(have.Key, f.Key)
		}) {
			k.t.Errorf("%s: the key %s of somebody else is gone", v.name, f.KeyID)
		}
	}
	for _, f := range v.secrets {
		if !slices.ContainsFunc(entra.PasswordCredentials, func(have directory.PasswordCredential) bool { return have.KeyID == f.KeyID }) {
			k.t.Errorf("%s: the secret %s of somebody else is gone", v.name, f.KeyID)
		}
	}
}

// endLeases ends the leases of a process that is dead.
func (k *killed) endLeases() {
	k.t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(byNames(k.environ)["REEVE_DATABASE_URL"], "sqlite:")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		k.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(k.t.Context(), `UPDATE applications SET lease_holder = NULL, lease_until = NULL`); err != nil {
		k.t.Fatal(err)
	}
}

// watch obtains tokens as the programs would, one application after the other, until ctx
// ends.
func (k *killed) watch(ctx context.Context) {
	prover := m365.Prover{Cloud: k.app.Cloud, HTTP: k.app.http}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, v := range k.victims {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if v.live == "" {
				continue
			}
			pair, err := certstore.File(v.live, "")
			if err == nil {
				_, err = prover.Prove(ctx, m365.ProofRequest{TenantID: k.tenant.ID, ClientID: v.client, Pair: pair, Resource: k.app.Cloud.GraphAudience})
			}
			if ctx.Err() != nil {
				return
			}
			k.asked.Add(1)
			if err != nil && k.failed.Add(1) < 5 {
				k.t.Errorf("a program of %s gets no token: %v", v.name, err)
			}
		}
	}
}

// rest lets everything come to an end, and what was replaced be retired.
func (k *killed) rest(limit time.Duration) {
	k.t.Helper()
	var left []string
	defer func() {
		if k.t.Failed() {
			k.t.Logf("not at rest:\n%s", strings.Join(left, "\n"))
		}
	}()
	k.until("everything to come to rest", limit, func() bool {
		left = nil
		by := k.applications()
		for _, v := range k.victims {
			a := by[v.object]
			states := map[credential.State]int{}
			for _, c := range a.Credentials {
				states[c.State]++
			}
			ended := states[credential.Destroyed]
			if !k.long {
				ended += states[credential.Draining]
			} else if len(a.In(credential.Draining)) > 0 && len(a.Wishes) == 0 {
				k.ask(v, credential.Retire)
			}
			if len(a.Wishes) > 0 || states[credential.Active] != 1 || states[credential.Standby] == 0 || states[credential.Active]+states[credential.Standby]+ended != len(a.Credentials) {
				left = append(left, fmt.Sprintf("%s: %v, wishes %v", v.name, states, a.Wishes))
			}
		}
		return len(left) == 0
	})
}

// judge looks at what there is in the end: at Entra ID, in the database, and in the
// certificate store.
func (k *killed) judge() {
	k.t.Helper()
	found, err := k.rotator().Reconcile(k.t.Context())
	if err != nil || len(found) > 0 {
		k.t.Errorf("private keys that the database does not know: %v, %v", found, err)
	}
	keys := k.app.stores[credential.StoreLocal]
	ids, err := keys.List(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	var wanted []string
	by := k.applications()
	for _, v := range k.victims {
		k.others(v)
		entra, _ := k.tenant.Directory.View(0).Application(v.object)
		inUse := by[v.object].In(credential.Active, credential.Standby, credential.Draining)
		if len(entra.KeyCredentials) != len(v.foreign)+len(inUse) || len(entra.PasswordCredentials) != len(v.secrets) {
			k.t.Errorf("%s: Entra ID has %d certificates and %d secrets, want %d of others, %d of reeve's and %d secrets", v.name,
				len(entra.KeyCredentials), len(entra.PasswordCredentials), len(v.foreign), len(inUse), len(v.secrets))
		}
		for _, c := range inUse {
			wanted = append(wanted, c.ID)
			e, err := keys.Get(k.t.Context(), c.ID)
			if err != nil || e.Certificate == nil || pki.SHA256(e.Certificate) != c.SHA256 {
				k.t.Errorf("%s: the key of the %s one is lost: %v", v.name, c.State, err)
				continue
			}
			if !slices.ContainsFunc(entra.KeyCredentials, func(have directory.KeyCredential) bool { return bytes.Equal(have.Key, e.Certificate.Raw) }) {
				k.t.Errorf("%s: the %s one is not at Entra ID", v.name, c.State)
			}
			if v.live == "" || c.State != credential.Active {
				continue
			}
			if pair, err := certstore.File(v.live, ""); err != nil || !pair.Certificate.Equal(e.Certificate) {
				k.t.Errorf("%s: the live place has another certificate than the active one: %v", v.name, err)
			}
		}
		if _, err := k.db.CheckJournal(k.t.Context(), k.number, v.object); err != nil {
			k.t.Error(err)
		}
	}
	slices.Sort(ids)
	slices.Sort(wanted)
	if !slices.Equal(ids, wanted) {
		k.t.Errorf("the certificate store has %d keys, and %d are in use", len(ids), len(wanted))
	}
}
