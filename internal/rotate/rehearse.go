package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// Results of a [Rehearsed].
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"
	ResultUnknown = "unknown" // it could not be found out, or there is nothing to find out yet
)

// Rehearsed is one thing that a renewal will need, and whether it would work now.
type Rehearsed struct {
	What   string `json:"what"`
	Result string `json:"result"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Rehearse tries all that a renewal of an application's certificate needs, short of
// changing anything that others see. In the store of the private keys a throw-away entry
// comes and goes.
func (r *Rotator) Rehearse(ctx context.Context, a credential.Application) []Rehearsed {
	h := &rehearsal{r: r, a: a}
	h.mode()
	h.signIn(ctx)
	h.clock()
	h.graph(ctx)
	h.register()
	h.store(ctx)
	for _, name := range a.Policy.Targets {
		h.target(ctx, name)
	}
	for _, hook := range a.Policy.Hooks {
		h.hook(hook)
	}
	return h.all
}

type rehearsal struct {
	r   *Rotator
	a   credential.Application
	all []Rehearsed

	skews []time.Duration // of the authority's clock, as answers told it
}

func (h *rehearsal) add(what, result, remedy, text string, args ...any) {
	h.all = append(h.all, Rehearsed{what, result, fmt.Sprintf(text, args...), remedy})
}

func (h *rehearsal) failed(what string, err error, instead string) {
	text, remedy := explain(err)
	if remedy == "" {
		remedy = instead
	}
	h.add(what, ResultFailed, remedy, "%s", text)
}

func (h *rehearsal) mode() {
	switch h.a.Mode {
	case credential.On:
		h.add("mode", ResultOK, "", "on: certificates are renewed")
	default:
		h.add("mode", ResultUnknown, "reeve cert policy set "+h.a.ClientID+" --mode on", "%s: nothing is renewed", h.a.Mode)
	}
}

// signIn obtains a token for each resource with each certificate that is, or may soon
// be, in use.
func (h *rehearsal) signIn(ctx context.Context) {
	active := h.a.In(credential.Active)
	works := true
	for _, c := range active {
		works = h.prove(ctx, "active", c) && works
	}
	until := len(h.all)
	if len(active) == 0 {
		h.add("active certificate", ResultUnknown, "reeve cert show "+h.a.ClientID, "there is none of reeve's")
	}
	standby := h.a.In(credential.Standby)
	ready := len(standby) > 0
	for _, c := range standby {
		ready = h.prove(ctx, "standby", c) && ready
	}
	if len(standby) == 0 {
		h.add("standby certificate", ResultUnknown, "one is made by itself where reeve is at work with mode on", "none waits")
	}
	if works || !ready {
		return
	}
	for i := range h.all[:until] {
		if r := &h.all[i]; r.Result == ResultFailed {
			r.Remedy = "the standby works: make it the one in use (reeve cert promote " + h.a.ClientID + "); where 'reeve serve' runs it does so by itself"
		}
	}
}

// prove reports whether a certificate signs in for each resource.
func (h *rehearsal) prove(ctx context.Context, which string, c credential.Credential) bool {
	pair, err := h.r.Pair(ctx, c)
	if err != nil {
		h.failed(which+" certificate "+c.SHA1, err, "restore the certificate store from a backup; only if the key is lost for good, revoke the credential: reeve cert revoke "+h.a.ClientID+" "+c.ID)
		return false
	}
	works := true
	for _, resource := range h.a.Policy.Resources {
		what := fmt.Sprintf("%s certificate, token for %s", which, resource)
		proof, err := h.r.obtain(ctx, m365.ProofRequest{
			TenantID: h.a.TenantID, ClientID: h.a.ClientID, Pair: pair, Resource: resource, Skew: h.skew(),
		})
		var signIn *m365.SignInError
		if errors.As(err, &signIn) && !signIn.ServerTime.IsZero() {
			h.skews = append(h.skews, signIn.ServerTime.Sub(h.r.o.Now()))
		}
		if err != nil {
			h.failed(what, err, "")
			works = false
			continue
		}
		if !proof.ServerTime.IsZero() {
			h.skews = append(h.skews, proof.Skew)
		}
		roles := "without permissions"
		if len(proof.Roles) > 0 {
			roles = strings.Join(proof.Roles, ", ")
		}
		h.add(what, ResultOK, "", "%s (%s)", pki.SHA1(pair.Certificate), roles)
	}
	return works
}

// skew is how far Entra ID's clock is ahead of ours, as far as that was seen lately.
func (h *rehearsal) skew() time.Duration { return skew(h.a, h.r.o.Now()) }

// clockOff is how far off a clock may be before somebody should look; Entra ID bears
// five minutes.
const clockOff = time.Minute

func (h *rehearsal) clock() {
	if len(h.skews) == 0 {
		h.add("clock", ResultUnknown, "", "Entra ID has not told the time")
		return
	}
	off := slices.MaxFunc(h.skews, func(x, y time.Duration) int { return int(x.Abs() - y.Abs()) }).Round(time.Second)
	if off.Abs() > clockOff {
		h.add("clock", ResultFailed, "set the clock, and let it be kept by NTP", "it is %v off that of Entra ID", off.Abs())
		return
	}
	h.add("clock", ResultOK, "", "within %v of that of Entra ID", max(off.Abs(), time.Second))
}

func (h *rehearsal) graph(ctx context.Context) {
	const what = "Graph, reading the application"
	if h.r.o.Directory == nil {
		h.add(what, ResultUnknown, "mend reeve's own sign-in, or choose another identity by credentials.manager", "reeve cannot sign in to ask")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	seen, err := h.r.o.Directory.Application(ctx, h.a.ObjectID)
	switch {
	case errors.Is(err, m365.ErrForbidden):
		h.add(what, ResultUnknown, "nothing has to be done: certificates are renewed all the same. To see what others do to the application, give reeve Application.Read.All",
			"Graph does not let reeve read it")
	case err != nil:
		h.failed(what, err, "")
	default:
		h.add(what, ResultOK, "", "%d certificates and %d client secrets", len(seen.Keys), len(seen.Passwords))
	}
}

// register says how the next certificate would be registered. It is not tried.
func (h *rehearsal) register() {
	const what = "registering a certificate (not tried)"
	if by, ok := speaker(h.a, "", h.r.o.Now()); ok {
		h.add(what, ResultUnknown, "", "addKey, as the application itself, with a proof signed by %s: needs no permission", by.SHA1)
		return
	}
	h.add(what, ResultUnknown, "", "PATCH of the list of keys, since no certificate of reeve's speaks for the application yet: needs Application.ReadWrite.OwnedBy as an owner of the application, or Application.ReadWrite.All")
}

// store keeps a throw-away entry, reads it back and deletes it. Should it stay behind,
// reconciling finds it as an abandoned key of the application.
func (h *rehearsal) store(ctx context.Context) {
	keys, err := h.r.store(h.a.Policy.Store)
	if err != nil {
		h.failed("certificate store", err, "")
		return
	}
	what := "certificate store " + keys.Name()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := h.throwAway(ctx, keys); err != nil {
		h.failed(what, err, "see that it can be written to: rights, disk, the role of who opens the vault")
		return
	}
	h.add(what, ResultOK, "", "a throw-away key was kept, read back and deleted")
}

func (h *rehearsal) throwAway(ctx context.Context, keys certstore.Store) (err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("choosing an id: %w", err)
	}
	e := certstore.Entry{ID: id.String(), ObjectID: h.a.ObjectID, ClientID: h.a.ClientID, TenantID: h.a.TenantID, Made: h.r.o.Now().UTC()}
	defer func() {
		if deleted := keys.Delete(context.WithoutCancel(ctx), e.ID); err == nil {
			err = deleted
		}
	}()
	if maker, makes := keys.(certstore.Maker); makes {
		e.Key, err = maker.MakeKey(ctx, e, h.a.Policy.KeyType)
	} else if e.Key, err = h.r.o.NewKey(ctx, h.a.Policy.KeyType); err == nil {
		err = keys.Put(ctx, e)
	}
	if err != nil {
		return err
	}
	got, err := keys.Get(ctx, e.ID)
	if err != nil {
		return fmt.Errorf("reading back what was just kept: %w", err)
	}
	if !pki.SameKey(got.Key.Public(), e.Key.Public()) {
		return errors.New("reading back what was just kept: it is another key")
	}
	return nil
}

func (h *rehearsal) target(ctx context.Context, name string) {
	what := "target " + name
	if h.r.o.OpenTarget == nil {
		h.add(what, ResultUnknown, "", "no live places can be written from here")
		return
	}
	target, err := h.r.o.OpenTarget(name)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		err = target.Check(ctx)
	}
	if err != nil {
		h.failed(what, err, "")
		return
	}
	h.add(what, ResultOK, "", "it can be published to")
}

// hook looks whether a hook is there. It is not run.
func (h *rehearsal) hook(text string) {
	what := "hook " + text
	if _, err := parseHook(text); err != nil { // which might repeat the URL of a webhook
		h.failed("hook", err, "reeve cert policy set "+h.a.ClientID+" --hook ...")
		return
	}
	if err := CheckHook(text); err != nil {
		h.failed(what, err, "see that it is there, and may be used by who runs reeve")
		return
	}
	h.add(what, ResultOK, "", "it is there; it is not run to try it")
}
