// Package rotate carries out what package credential plans for the certificates of
// applications: it makes keys, registers certificates at Entra ID, proves them with
// tokens, hands them to the live places, and takes the old ones away.
//
// Whatever it does outside is recorded before it is done, and found again by looking
// when it was killed in between, so that it may be killed anywhere, and several of it
// may run on one database. Nothing here waits: what has to be waited for has a time in
// the database. docs/rotation.md has the protocol.
package rotate

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// Options say what a Rotator works with.
type Options struct {
	DB     *store.DB
	Tenant int
	Cloud  m365.Cloud
	HTTP   *http.Client

	// Directory reads applications, and changes those that cannot change themselves.
	// Without one reeve sees nothing at Entra ID and goes by tokens alone.
	Directory *graph.Client
	// ManagerToken says who Directory signs in as, and with which roles at Graph, by a
	// token that was just obtained; nil when it is not known.
	ManagerToken func(context.Context) (clientID string, roles []string, err error)

	// Stores keep private keys, by the words of a policy.
	Stores map[string]certstore.Store
	// VaultURL is the address of the vault of Stores, and of live places that name none.
	VaultURL string
	// OpenTarget opens a live place of a policy.
	OpenTarget func(name string) (certstore.Target, error)
	// RunHook runs a command or a webhook of a policy. What it did not finish is tried
	// again; what it can never finish is permanent.
	RunHook func(ctx context.Context, hook string, d Deployment) (permanent bool, err error)

	// NewKey makes private keys; pki.NewKey when nil.
	NewKey func(context.Context, pki.KeyType) (crypto.Signer, error)
	// Changed is told when the active certificate or the standby of an application has
	// changed. It must not take long.
	Changed func(a credential.Application)

	Rhythm  credential.Rhythm // credential.UsualRhythm when zero
	Holder  string            // this process among others on the database; random when empty
	Actor   string            // who is said to act, in the journal; "reeve" when empty
	Workers int               // applications at a time; 8 when zero
	Now     func() time.Time
	Log     *slog.Logger
}

// Deployment is what a hook is told about a new certificate. Nothing in it is secret.
type Deployment struct {
	ClientID, ObjectID, TenantID, Name string
	Credential                         string
	Generation                         int64
	SHA1, SHA256                       string
	NotAfter                           time.Time
	Targets                            []string
}

// Rotator looks after applications. It is safe for use by several goroutines.
type Rotator struct {
	o        Options
	prover   m365.Prover
	breakers breakers
	callTime time.Duration // shorter in tests

	wake chan struct{} // something has become due
}

const (
	// leaseTime is how long an application is ours, and so for how long nobody goes on with
	// it when this process is killed. Before each remote effect that may last longer it is
	// prolonged to outlast that by leaseRoom, and to no more than leaseMost.
	leaseTime = 90 * time.Second
	leaseRoom = 15 * time.Second
	leaseMost = 5 * time.Minute
	// callTime bounds one remote effect, which may be several requests; hookTime a
	// command or a webhook of a policy.
	callTime = time.Minute
	hookTime = commandTime + 10*time.Second
	// stepsAtOnce bounds the steps for one application in a row.
	stepsAtOnce = 100
	// idle is the longest time between two looks at what is due.
	idle = time.Minute
)

// New makes a Rotator.
func New(o Options) *Rotator {
	o.Rhythm.Look = cmp.Or(o.Rhythm.Look, credential.UsualRhythm.Look)
	o.Rhythm.Rehearse = cmp.Or(o.Rhythm.Rehearse, credential.UsualRhythm.Rehearse)
	o.Holder = cmp.Or(o.Holder, uuid.NewString())
	o.Actor = cmp.Or(o.Actor, "reeve")
	o.Workers = cmp.Or(o.Workers, 8)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.NewKey == nil {
		o.NewKey = func(_ context.Context, t pki.KeyType) (crypto.Signer, error) { return pki.NewKey(t) }
	}
	return &Rotator{
		o:        o,
		prover:   m365.Prover{Cloud: o.Cloud, HTTP: o.HTTP, Now: o.Now},
		callTime: callTime,
		wake:     make(chan struct{}, 1),
	}
}

// Run looks after all applications until ctx ends. It goes on whatever fails; what did
// is logged, and is in the findings.
func (r *Rotator) Run(ctx context.Context) error {
	refused := false // by the database, and it was said
	for {
		next, err := r.Pass(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var refusal *store.Error
		switch again := refused; {
		case err == nil && refused:
			r.o.Log.Info("Certificates are looked after again.")
			refused = false
		case err != nil:
			if refused = errors.As(err, &refusal); !refused || !again {
				r.o.Log.Error("Looking after certificates failed; it is tried again.", "error", err)
			}
		}
		wait := idle
		if !next.IsZero() && err == nil {
			wait = min(max(next.Sub(r.o.Now()), 0), idle)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		}
		timer.Stop()
	}
}

// Wake makes Run look at once at what is due.
func (r *Rotator) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// batch is how many applications are taken from the database at a time.
const batch = 256

// Pass carries out what is due now, and says when something is due next; zero if
// nothing ever is. When the database fails, no other application is begun; those that are
// under way are not interrupted for it, since their answers would be lost.
func (r *Rotator) Pass(ctx context.Context) (time.Time, error) {
	now := r.o.Now()
	due, err := r.o.DB.DueApplications(ctx, r.o.Tenant, now, now.Add(2*r.o.Rhythm.Look), batch)
	if err != nil {
		return time.Time{}, err
	}
	var group errgroup.Group
	group.SetLimit(r.o.Workers)
	var down atomic.Bool // the database
	for _, id := range due {
		group.Go(func() error {
			if down.Load() {
				return nil
			}
			_, err := r.Work(ctx, id)
			switch {
			case errors.Is(err, store.ErrLeased), errors.Is(err, store.ErrFenced):
				return nil // another process has it
			case err != nil && ctx.Err() == nil:
				r.o.Log.Error("Looking after an application failed.", "application", id, "error", err)
				var database *store.Error
				if errors.As(err, &database) {
					down.Store(true)
					return err
				}
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return time.Time{}, err
	}
	if len(due) == batch {
		return r.o.Now(), nil
	}
	return r.o.DB.NextApplication(ctx, r.o.Tenant)
}

// Work carries out what is due for one application, whoever asks, and says when it is
// due next. The error is store.ErrLeased if another process is at it.
func (r *Rotator) Work(ctx context.Context, objectID string) (next time.Time, err error) {
	lease, err := r.o.DB.LeaseApplication(ctx, r.o.Tenant, objectID, r.o.Holder+"/"+uuid.NewString(), leaseTime)
	if err != nil {
		return time.Time{}, err
	}
	w := &work{r: r, lease: lease}
	next, err = w.run(ctx)
	if errors.Is(err, store.ErrFenced) {
		return time.Time{}, err
	}
	// The lease is given back even when ctx has ended: nobody should wait for it.
	after := context.WithoutCancel(ctx)
	if err != nil {
		next = r.o.Now().Add(credential.Backoff(objectID, 3))
		if ctx.Err() != nil {
			next = r.o.Now()
		}
	}
	if releaseErr := lease.Release(after, next, w.urgent()); releaseErr != nil && err == nil {
		err = releaseErr
	}
	if w.changed && r.o.Changed != nil {
		r.o.Changed(w.a)
	}
	return next, err
}

// Steps says what is planned for an application.
func (r *Rotator) Steps(a credential.Application) []credential.Step {
	return credential.Plan(r.o.Now(), a, r.o.Rhythm)
}

// Pair fetches a credential of an application with its private key.
func (r *Rotator) Pair(ctx context.Context, c credential.Credential) (pki.Pair, error) {
	keys, err := r.store(c.Store)
	if err != nil {
		return pki.Pair{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.callTime)
	defer cancel()
	e, err := keys.Get(ctx, c.ID)
	if err != nil {
		return pki.Pair{}, fmt.Errorf("fetching the private key of credential %s from %s: %w", c.ID, keys.Name(), err)
	}
	chain, err := certificates(c)
	if err != nil {
		return pki.Pair{}, err
	}
	if len(chain) == 0 {
		return pki.Pair{}, fmt.Errorf("credential %s has no certificate yet", c.ID)
	}
	p := pki.Pair{Certificate: chain[0], Chain: chain[1:], Key: e.Key}
	if !pki.SameKey(p.Key.Public(), p.Certificate.PublicKey) {
		return pki.Pair{}, fmt.Errorf("the private key in %s under %s is not that of certificate %s: restore the store from a backup, or revoke the credential", keys.Name(), c.ID, c.SHA1)
	}
	return p, nil
}

func (r *Rotator) store(word string) (certstore.Store, error) {
	s, ok := r.o.Stores[word]
	if !ok {
		return nil, fmt.Errorf("there is no certificate store %q here: see credentials.store and vault-url in the configuration", word)
	}
	return s, nil
}
