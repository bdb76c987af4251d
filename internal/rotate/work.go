package rotate

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// work is the work on one application under a lease.
type work struct {
	r     *Rotator
	lease *store.Lease
	a     credential.Application // as it is in the database

	changed bool  // the active credential or the standby has changed
	silence error // why a service did not answer, though the step went on
}

// run carries out what is due, one step after the other, and says when the next is.
func (w *work) run(ctx context.Context) (time.Time, error) {
	for range stepsAtOnce {
		if err := ctx.Err(); err != nil {
			return time.Time{}, context.Cause(ctx)
		}
		if err := w.reread(ctx); err != nil {
			return time.Time{}, err
		}
		if err := w.fulfil(ctx); err != nil {
			return time.Time{}, err
		}
		step, next := w.due()
		if step == nil {
			return next, w.tell(ctx)
		}
		if w.changed && step.Action == credential.Create { // a key takes long, and others may wait for their turn
			return w.r.o.Now(), w.tell(ctx)
		}
		if err := w.do(ctx, *step); err != nil {
			return time.Time{}, err
		}
	}
	return w.r.o.Now().Add(time.Second), w.tell(ctx)
}

// due finds the first step whose time has come and whose service is not known to be
// down, and when the next is if there is none.
func (w *work) due() (*credential.Step, time.Time) {
	now := w.r.o.Now()
	var next time.Time
	for _, s := range credential.Plan(now, w.a, w.r.o.Rhythm) {
		at := s.At
		if s.Due(now) {
			until := w.r.breakers.until(w.r.needs(w.a, s), now)
			if until.IsZero() {
				return &s, time.Time{}
			}
			at = until
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return nil, next
}

// do carries out one step. Its error is the database's, or the context's: what went
// wrong with the step is recorded, and so is that its own time was over.
func (w *work) do(ctx context.Context, s credential.Step) error {
	limit := w.r.callTime
	switch s.Action {
	case credential.Deliver:
		limit = hookTime
	case credential.Look, credential.Publish, credential.Destroy:
		places := len(w.a.Policy.Targets)
		for _, c := range w.a.Credentials {
			places += len(w.a.Former(c))
		}
		limit += w.r.callTime * time.Duration(places) // each has its own, see [work.at]
	}
	if err := w.hold(ctx, limit); err != nil {
		return err
	}
	stepCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	var c credential.Credential
	w.silence = nil
	if s.Credential != "" {
		var ok bool
		if c, ok = w.find(s.Credential); !ok {
			return fmt.Errorf("the plan for application %s names credential %s, which is not there", w.a.Name, s.Credential)
		}
	}
	switch s.Action {
	case credential.Look:
		err = w.look(stepCtx)
	case credential.Create:
		err = w.create(stepCtx, s)
	case credential.MakeKey:
		err = w.makeKey(stepCtx, c)
	case credential.Certify:
		err = w.certify(stepCtx, c)
	case credential.Stage:
		err = w.stage(stepCtx, c)
	case credential.Register:
		err = w.register(stepCtx, c)
	case credential.Find:
		err = w.findAgain(stepCtx, c)
	case credential.Confirm:
		err = w.confirm(stepCtx, c)
	case credential.Prove:
		err = w.prove(stepCtx, c)
	case credential.Advance:
		err = w.promote(stepCtx, c, s)
	case credential.Publish:
		err = w.publish(stepCtx, c, s)
	case credential.Withdraw:
		err = w.withdraw(stepCtx, c, s)
	case credential.Remove:
		err = w.remove(stepCtx, c)
	case credential.SeeGone:
		err = w.seeGone(stepCtx, c)
	case credential.SeeRefused:
		err = w.seeRefused(stepCtx, c)
	case credential.Destroy:
		err = w.destroy(stepCtx, c, s)
	case credential.Abandon:
		err = w.abandon(stepCtx, c, s)
	case credential.Drain:
		err = w.drain(stepCtx, c, s)
	case credential.Mourn:
		err = w.mourn(stepCtx, c, s)
	case credential.Deliver:
		err = w.deliver(stepCtx, c, s)
	default:
		err = fmt.Errorf("there is no step %q", s.Action)
	}
	if ctx.Err() == nil { // what the end of this process interrupts says nothing of a service
		w.r.breakers.record(w.r.o.Cloud, w.a.ObjectID, w.r.needs(w.a, s), cmp.Or(err, w.silence), w.r.o.Now())
	}
	var database *store.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, store.ErrFenced):
		return err
	case stepCtx.Err() != nil: // its own time was over, whatever it was at: recording that shows how the database is
		err = fmt.Errorf("it took longer than %v: %w", limit, err)
	case errors.As(err, &database):
		return err
	}
	return w.failed(ctx, s, err)
}

// StepFailed is what the log says of a step that failed, which the journal tells as well.
const StepFailed = "A step for a certificate failed; it is tried again."

// failed records that a step failed and when it is tried again.
func (w *work) failed(ctx context.Context, s credential.Step, err error) error {
	now := w.r.o.Now()
	text, remedy := explain(err)
	w.r.o.Log.Warn(StepFailed, "application", w.a.Name, "step", s.Action,
		"credential", s.Credential, "error", text)
	if err := w.reread(ctx); err != nil { // the step may have written before it failed
		return err
	}
	if s.Action != credential.Publish { // whose answer may be of a while ago
		w.clock(ctx, now, m365.Proof{}, err)
	}
	if s.Action == credential.Look {
		return w.lookFailed(ctx, err, text)
	}
	c, ok := w.find(s.Credential)
	if !ok { // creating one, which no service is asked for
		return fmt.Errorf("application %s: %s: %w", w.a.Name, s.Action, err)
	}
	c.Failing = s.Action
	if c.Attempts++; c.Attempts == 1 {
		c.FailedAt = now.UTC()
	}
	wait := credential.Backoff(c.ID, c.Attempts)
	if errors.Is(err, graph.ErrConflict) {
		wait = max(5*time.Second, min(wait, time.Minute))
	}
	if after := retryAfter(err); after > 0 {
		c.RetryAfter = now.Add(after).UTC()
	}
	c.RetryAt = now.Add(wait)
	// An entry for each attempt would bury the journal in a long failure.
	tellIt := c.Attempts&(c.Attempts-1) == 0
	c.Error, c.Remedy = text, remedy
	c.Stuck = !errors.Is(err, m365.ErrTransient) && !errors.Is(err, m365.ErrThrottled) && !errors.Is(err, graph.ErrConflict) && c.Attempts >= 3
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if tellIt {
			if err := tx.Journal(w.entry(c.ID, string(s.Action), store.Failed, text, requestIDs(err))); err != nil {
				return err
			}
		}
		return tx.SaveCredential(c)
	})
}

// write runs f under the lease.
func (w *work) write(ctx context.Context, f func(*store.CredentialTx) error) error {
	return w.lease.Write(ctx, f)
}

// save writes a credential that has not moved on.
func (w *work) save(ctx context.Context, c credential.Credential) error {
	return w.write(ctx, func(tx *store.CredentialTx) error { return tx.SaveCredential(c) })
}

// into brings a credential into a state, as done by a step.
func (w *work) into(ctx context.Context, c credential.Credential, state credential.State, step credential.Action, text string, data any) error {
	return w.write(ctx, func(tx *store.CredentialTx) error { return w.move(tx, c, state, step, text, data) })
}

// move is into, in a transaction that does something else besides.
func (w *work) move(tx *store.CredentialTx, c credential.Credential, state credential.State, step credential.Action, text string, data any) error {
	was := c.State
	c.State, c.Since = state, w.r.o.Now().UTC()
	c.Attempts, c.RetryAt, c.Error, c.Remedy, c.Stuck = 0, time.Time{}, "", "", false
	if was == credential.Active || was == credential.Standby || state == credential.Active || state == credential.Standby {
		w.changed = true
	}
	if was == credential.Publishing && state != credential.Active {
		if err := w.supersede(tx, c); err != nil {
			return err
		}
	}
	if err := tx.Journal(w.entry(c.ID, string(step), store.Done, text, data)); err != nil {
		return err
	}
	w.r.o.Log.Info("A certificate moved on.", "application", w.a.Name, "credential", c.ID, "from", was, "to", state, "why", text)
	return tx.SaveCredential(c)
}

// entry makes a line for the journal.
func (w *work) entry(id, step, outcome, text string, data any) store.JournalEntry {
	e := store.JournalEntry{At: w.r.o.Now(), Actor: w.r.o.Actor, Credential: id, Step: step, Outcome: outcome, Text: text}
	if data != nil {
		e.Data, _ = json.Marshal(data) // of our own plain values
	}
	return e
}

// hold makes sure that the lease outlasts the next effect, which takes so long at most. One
// at many places holds it for each of them, see [work.at].
func (w *work) hold(ctx context.Context, d time.Duration) error {
	need := min(d+leaseRoom, leaseMost)
	if left := w.lease.Until.Sub(w.r.o.Now()); left >= need && left <= leaseMost {
		return nil
	}
	return w.lease.Extend(ctx, max(need, leaseTime))
}

// within does something in the time of one effect, which the lease outlasts.
func (w *work) within(ctx context.Context, f func(context.Context) error) error {
	if err := w.hold(ctx, w.r.callTime); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.r.callTime)
	defer cancel()
	return f(ctx)
}

func (w *work) find(id string) (credential.Credential, bool) {
	for _, c := range w.a.Credentials {
		if c.ID == id {
			return c, true
		}
	}
	return credential.Credential{}, false
}

// fulfil takes away the wishes that have come true, and marks the credential that is to
// be revoked.
func (w *work) fulfil(ctx context.Context) error {
	for _, wish := range w.a.Wishes {
		if wish.Kind != credential.Revoke {
			continue
		}
		c, ok := w.a.Find(wish.Credential)
		if wish.Credential == "" {
			c, ok = w.a.Active()
		}
		if !ok || !c.State.HasKey() || c.State == credential.Compromised || c.State == credential.Retired || c.State == credential.Lost {
			continue
		}
		if err := w.write(ctx, func(tx *store.CredentialTx) error {
			if err := w.post(tx, w.noticeRevoked(c, wish)); err != nil {
				return err
			}
			if wish.Credential == "" { // it is about this one, and not about the next that is active
				if err := tx.Fulfil(wish); err != nil {
					return err
				}
			}
			c.Reason = wish.Asked("revoked")
			return w.move(tx, c, credential.Compromised, "revoke", c.Reason, nil)
		}); err != nil {
			return err
		}
		return w.reread(ctx)
	}
	done := w.a.Fulfilled()
	if len(done) == 0 {
		return nil
	}
	if err := w.write(ctx, func(tx *store.CredentialTx) error {
		for _, wish := range done {
			outcome, text := store.Done, "what "+wish.By+" asked for is over"
			if w.a.InVain(wish) {
				outcome, text = store.Failed, "what "+wish.By+" asked for cannot be done any more"
			}
			if err := tx.Journal(w.entry(wish.Credential, string(wish.Kind), outcome, text, nil)); err != nil {
				return err
			}
			if err := tx.Fulfil(wish); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return w.reread(ctx)
}

func (w *work) reread(ctx context.Context) (err error) {
	w.a, err = w.lease.Read(ctx)
	w.a.Vault = cmp.Or(w.r.o.VaultURL, w.a.Vault)
	return err
}

// urgent reports that the application is one of ours to care for and has no certificate
// that works, so that others wait for it.
func (w *work) urgent() bool {
	return w.a.Mode == credential.On && !w.a.Observed.Gone && w.a.Out(w.r.o.Now())
}

// pair fetches a credential with its key.
func (w *work) pair(ctx context.Context, c credential.Credential) (pki.Pair, error) {
	return w.r.Pair(ctx, c)
}

func certificates(c credential.Credential) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate of credential %s from the database: %w", c.ID, err)
		}
		all = append(all, cert)
	}
	return all, nil
}

// explain gives an error's text and what to do about it. What our own packages say has the
// remedy in its text.
func explain(err error) (text, remedy string) {
	var answer *m365.Error
	var problem *pki.Problem
	remedy = "do what the error says, and it goes on by itself; if it says nothing of that, it is tried again by itself"
	x, explained := m365.ExplanationOf(err)
	switch {
	case explained:
		remedy = x.Remedy
	case errors.As(err, &answer) && answer.Remedy != "":
		remedy = answer.Remedy
	case errors.As(err, &problem) && problem.Remedy != "":
		remedy = problem.Remedy
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "make room on the disk: it goes on by itself then"
	case errors.Is(err, certstore.ErrKeyset):
		remedy = "no certificate is to be revoked for that: give reeve the keyset that was in use before (credentials.keyset or credentials.keyset-text; without them the file beside credentials.dir), from the copy that you keep"
	}
	return err.Error(), remedy
}

// longestWait is how long at most a service can ask to wait: what is longer is a mistake of
// a clock, and kept would come true on the day before its end.
const longestWait = 24 * time.Hour

// retryAfter is how long a service asked to wait: of several the longest.
func retryAfter(err error) time.Duration {
	if asked := askedToWait(err); asked <= longestWait {
		return asked
	}
	return 0
}

func askedToWait(err error) (longest time.Duration) {
	switch err := err.(type) {
	case *m365.Error:
		longest = err.RetryAfter
	case *m365.SignInError:
		longest = err.RetryAfter
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		longest = max(longest, askedToWait(err.Unwrap()))
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			longest = max(longest, askedToWait(err))
		}
	}
	return longest
}

// requestIDs are what Microsoft's support asks for.
func requestIDs(err error) any {
	var answer *m365.Error
	var signIn *m365.SignInError
	switch {
	case errors.As(err, &answer) && answer.RequestID != "":
		return map[string]any{"request_id": answer.RequestID, "status": answer.Status, "code": answer.Code}
	case errors.As(err, &signIn) && signIn.TraceID != "":
		return map[string]any{"trace_id": signIn.TraceID, "correlation_id": signIn.CorrelationID, "codes": signIn.Codes}
	}
	return nil
}
