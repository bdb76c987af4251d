package rotate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/store"
)

// Graph can replace the complete list of an application's keys, and has no way of making
// that depend on the list being what was read. So it is read for long enough before, and
// for as long after: what a replica shows then that does not know the new list yet, and
// the new list has not, was added right before, and is lost.

// preimage is what the journal keeps of the list before it is changed, from which a
// person could restore it.
type preimage struct {
	Method string                `json:"method"`
	KeyID  string                `json:"key_id,omitempty"`
	SHA256 string                `json:"sha256"`
	Keys   []graph.KeyCredential `json:"keys,omitempty"`
	Signer string                `json:"signer,omitempty"`

	// Lost are keys of others that a list of ours has taken away and that were not seen
	// again since.
	Lost []graph.KeyCredential `json:"lost,omitempty"`
	// Back are the key ids of those that this list puts back, Restored of those that it
	// and lists before it do, of which Round were sent.
	Back     []string `json:"back,omitempty"`
	Restored []string `json:"restored,omitempty"`
	Round    int      `json:"round,omitempty"`
}

// preimage finds the list that the journal holds from before the one that a step put in
// place for a credential.
func (w *work) preimage(ctx context.Context, c credential.Credential, step credential.Action) (p preimage, ok bool, err error) {
	e, err := w.r.o.DB.LastIntent(ctx, w.r.o.Tenant, w.a.ObjectID, c.ID, string(step))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return p, false, nil
	case err != nil:
		return p, false, err
	}
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, false, fmt.Errorf("reading the list of keys from entry %d of the journal: %w", e.Seq, err)
	}
	return p, true, nil
}

// What is read before the complete list is replaced: reads that agree, over longer than
// a replica lags, so that what somebody else has just added is not overlooked.
const (
	listReads = 3
	listSpan  = 36 * time.Second
	listGap   = 12 * time.Second
	freshFor  = 10 * time.Minute // an application that reeve made is known to nobody else
	freshGap  = 3 * time.Second
)

// How often the application is read in a row, since each answer may come from a replica
// that lags differently: before the list is replaced, and at each step after it.
const (
	looksBefore = 8
	looksAfter  = 3
)

const (
	// compareWithin is how long after a list was replaced a key that was in it before, and
	// is not now, is taken for lost by that: long enough for another process to go on when
	// one is killed. Later somebody has more likely removed it.
	compareWithin = 10 * time.Minute
	// restoreTries is how often what others have lost is put back.
	restoreTries = 5
)

// justMade reports that reeve itself made the application, a moment ago.
func (w *work) justMade() bool {
	age := w.r.o.Now().Sub(w.a.Made)
	return !w.a.Made.IsZero() && age >= 0 && age < freshFor
}

// untouched reports that nobody else can have a key in the list. What somebody added in
// the moment since the application was made is found and put back all the same, as after
// every list.
func (w *work) untouched(keys []graph.KeyCredential) bool { return len(keys) == 0 && w.justMade() }

// notYet is err, unless a replica does not know the application yet that was just made.
func (w *work) notYet(ctx context.Context, c credential.Credential, err error) error {
	if !w.justMade() || !errors.Is(err, m365.ErrNotFound) {
		return err
	}
	c.RetryAt = w.r.o.Now().UTC().Add(freshGap)
	return w.save(ctx, c)
}

// settled notes a read of the list before it is replaced, and reports whether reads have
// agreed for long enough. If not, it says when to read again.
func (w *work) settled(c *credential.Credential, keys []graph.KeyCredential) bool {
	now := w.r.o.Now().UTC()
	// After a long pause the reads before it tell nothing of what was added of late.
	list := fingerprint(keys)
	if c.Restless.IsZero() {
		c.Restless = now
	}
	if list != c.List && c.List != "" {
		c.Changes, c.Changed = c.Changes+1, difference(c.List, list)
	}
	if list != c.List || c.ListSince.IsZero() || now.Sub(c.ReadAt).Abs() > listSpan {
		c.List, c.ListSince, c.Reads = list, now, 0
	}
	c.Reads, c.ReadAt = c.Reads+1, now
	if c.Reads < listReads || now.Sub(c.ListSince).Abs() < listSpan {
		c.RetryAt = now.Add(listGap)
		return false
	}
	c.List, c.ListSince, c.Reads = "", time.Time{}, 0
	c.Restless, c.Changes, c.Changed = time.Time{}, 0, ""
	return true
}

// difference says which key ids one fingerprint has and another has not.
func difference(before, after string) string {
	was, is := strings.Fields(before)[1:], strings.Fields(after)[1:]
	var changes []string
	for _, id := range is {
		if !slices.Contains(was, id) {
			changes = append(changes, id+" has come")
		}
	}
	for _, id := range was {
		if !slices.Contains(is, id) {
			changes = append(changes, id+" has gone")
		}
	}
	return strings.Join(changes, ", ")
}

// fingerprint is the same for equal lists.
func fingerprint(keys []graph.KeyCredential) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, strings.ToLower(k.KeyID))
	}
	slices.Sort(ids)
	return fmt.Sprint(len(ids), " ", strings.Join(ids, " "))
}

// gather reads the application again and again and adds to a list whatever key of others
// one of the answers shows.
func (w *work) gather(ctx context.Context, c credential.Credential, list []graph.KeyCredential, looks int) ([]graph.KeyCredential, error) {
	all := slices.Clone(list)
	for range looks {
		seen, err := w.read(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range seen.Keys {
			if !isFor(k, c) && !hasID(all, k.KeyID) {
				all = append(all, k)
			}
		}
	}
	return all, nil
}

func hasID(keys []graph.KeyCredential, id string) bool {
	return slices.ContainsFunc(keys, func(k graph.KeyCredential) bool { return strings.EqualFold(k.KeyID, id) })
}

// has reports whether a list has a key, be it under another key id.
func has(keys []graph.KeyCredential, key graph.KeyCredential) bool {
	return hasID(keys, key.KeyID) || len(key.Key) > 0 && slices.ContainsFunc(keys, func(k graph.KeyCredential) bool { return bytes.Equal(k.Key, key.Key) })
}

// compare notes in the journal what others have lost by the list that a step has put in
// place for a credential, as far as the application, which was just read, and is read
// some more times, shows it. Applied says whether it shows what that list was for.
func (w *work) compare(ctx context.Context, c *credential.Credential, step credential.Action, seen graph.Application, applied bool) (preimage, error) {
	if c.Replaced.IsZero() {
		return preimage{}, nil
	}
	before, ok, err := w.preimage(ctx, *c, step)
	if err != nil || !ok {
		return before, err
	}
	since := w.r.o.Now().Sub(c.Replaced).Abs()
	known := fingerprint(before.Lost)
	lose := func(keys, unless []graph.KeyCredential) {
		for _, k := range keys {
			if !isFor(k, *c) && !has(unless, k) && !has(before.Lost, k) {
				before.Lost = append(before.Lost, k)
			}
		}
	}
	for look := range looksAfter {
		if look > 0 {
			if since > credential.StaleFor {
				break // every replica shows the same by now
			}
			if seen, err = w.read(ctx); err != nil {
				break // the next step reads on
			}
			applied = (len(shown(seen, *c)) > 0) == (step == credential.Register)
		}
		switch {
		case applied && !slices.ContainsFunc(before.Back, func(id string) bool { return !hasID(seen.Keys, id) }):
			// What is missing from now on was removed by somebody who wanted that.
			before.Lost = slices.DeleteFunc(before.Lost, func(k graph.KeyCredential) bool { return has(seen.Keys, k) })
			if !c.Compared && since <= compareWithin {
				lose(before.Keys, seen.Keys)
			}
			c.Compared = true
		case since <= credential.StaleFor:
			lose(seen.Keys, before.Keys)
		}
	}
	if fingerprint(before.Lost) == known {
		return before, nil
	}
	return before, w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(step), store.Intent, "key credentials of others that the new list has not: "+names(before.Lost), before)); err != nil {
			return err
		}
		return tx.SaveCredential(*c)
	})
}

// unanswered records that it is not known what became of a list. It is looked for at once,
// unless the service asks to wait: what replicas show that lag tells of it for a short time
// only.
func (w *work) unanswered(ctx context.Context, c credential.Credential, step credential.Action, err error) error {
	if ctx.Err() != nil {
		return err
	}
	text, _ := explain(err)
	w.silence = err
	if after := retryAfter(err); after > 0 {
		c.RetryAfter = w.r.o.Now().UTC().Add(after)
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(step), store.Failed, text, requestIDs(err))); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

func names(keys []graph.KeyCredential) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.KeyID)
	}
	return strings.Join(ids, ", ")
}

// guard looks for what others have lost by a list of ours until every replica must know
// that list, and then puts it back, which goes by a list as well. It reports whether
// nothing is left to be done; see compare for the rest.
func (w *work) guard(ctx context.Context, c *credential.Credential, step credential.Action, seen graph.Application, applied bool) (over bool, err error) {
	before, err := w.compare(ctx, c, step, seen, applied)
	switch now := w.r.o.Now(); {
	case err != nil:
		return false, err
	case c.Replaced.IsZero():
		return true, nil
	case now.Sub(c.Replaced).Abs() <= credential.StaleFor, !applied:
		return false, nil
	}
	lost := w.missing(before, seen)
	back := slices.DeleteFunc(slices.Clone(lost), func(k graph.KeyCredential) bool { return len(k.Key) == 0 })
	if len(back) > 0 && before.Round < restoreTries {
		return false, w.restore(ctx, c, step, before, seen, back)
	}
	return true, w.guarded(ctx, c, step, before, lost)
}

// missing lists the keys of others that are lost, and would still be of use.
func (w *work) missing(before preimage, seen graph.Application) []graph.KeyCredential {
	return slices.DeleteFunc(slices.Clone(before.Lost), func(k graph.KeyCredential) bool {
		return has(seen.Keys, k) || !w.r.o.Now().Before(k.End)
	})
}

// owed lists what others have lost by a list of ours that was in place for a credential
// and is no more, before what was lost by it was put back. The next list owes it to them.
func (w *work) owed(ctx context.Context, c credential.Credential, step credential.Action) ([]graph.KeyCredential, error) {
	before, _, err := w.preimage(ctx, c, step)
	if err != nil || !c.Compared && before.Round == 0 { // no list of ours was ever seen in place
		return nil, err
	}
	return before.Lost, nil
}

// unguard ends the guard because Graph cannot be read any more.
func (w *work) unguard(ctx context.Context, c *credential.Credential, step credential.Action) error {
	if c.Replaced.IsZero() {
		return nil
	}
	before, _, err := w.preimage(ctx, *c, step)
	if err != nil {
		return err
	}
	return w.guarded(ctx, c, step, before, w.missing(before, graph.Application{}))
}

// guarded ends the guard, and tells of what was put back and what could not be.
func (w *work) guarded(ctx context.Context, c *credential.Credential, step credential.Action, before preimage, lost []graph.KeyCredential) error {
	c.Replaced, c.Compared = time.Time{}, false
	if before.Round == 0 && len(lost) == 0 {
		return nil
	}
	outcome, text := store.Done, "what others had lost by a list of ours is there again"
	if len(lost) > 0 {
		outcome, text = store.Failed, "key credentials of others that were lost by a list of ours are still missing: "+names(lost)
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(step), outcome, text, nil)); err != nil {
			return err
		}
		if err := w.post(tx, w.noticeRestored(*c, before.Restored, names(lost))); err != nil {
			return err
		}
		return tx.SaveCredential(*c)
	})
}

// restore puts keys back that others have lost. Whether it did, the guard finds out.
func (w *work) restore(ctx context.Context, c *credential.Credential, step credential.Action, before preimage, seen graph.Application, back []graph.KeyCredential) error {
	list, err := w.gather(ctx, credential.Credential{}, seen.Keys, looksBefore)
	if err != nil {
		return err
	}
	// One that is back by itself is sent as it is.
	back = slices.DeleteFunc(back, func(k graph.KeyCredential) bool { return has(list, k) })
	if len(back) == 0 {
		return nil
	}
	next := preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: list, Lost: before.Lost, Restored: before.Restored, Round: before.Round + 1}
	for i, k := range back {
		next.Back = append(next.Back, k.KeyID)
		if !slices.Contains(next.Restored, k.KeyID) {
			next.Restored = append(next.Restored, k.KeyID)
		}
		back[i] = k.AsNew()
	}
	replaced, compared := c.Replaced, c.Compared
	c.Replaced, c.Compared, c.Reads = w.r.o.Now().UTC(), false, 0
	if err := w.intend(ctx, c, c.State, step, next); err != nil {
		return err
	}
	err = w.r.o.Directory.SetKeys(ctx, w.a.ObjectID, append(list, back...))
	switch {
	case putOff(err):
		if refused(err) { // all is as it was before
			next, c.Replaced, c.Compared = before, replaced, compared
		} else {
			next.Round = before.Round
		}
		return errors.Join(err, w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(step), store.Intent, "the service asks to wait: this was no try", next)); err != nil {
				return err
			}
			return tx.SaveCredential(*c)
		}))
	case err != nil && !refused(err):
		return w.unanswered(ctx, *c, step, err)
	}
	return err
}

// putOff reports that a service has not done what it was asked for, and is to be asked
// later: there was too much to do, or no token was to be had for the moment.
func putOff(err error) bool {
	return errors.Is(err, m365.ErrThrottled) || retryAfter(err) > 0 || refused(err) && errors.Is(err, m365.ErrTransient)
}
