package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/store"
)

// What is foreseen for a wish is what then happens, in that order and about that long;
// and looking ahead does nothing.
func TestForesee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	ctx := t.Context()
	first, _ := w.app().Active()

	for _, wish := range []struct {
		kind   credential.WishKind
		of     func(credential.Application) credential.Credential
		wanted func(credential.Application, credential.Credential) bool
	}{
		{credential.Renew, nil, func(a credential.Application, _ credential.Credential) bool {
			active, _ := a.Active()
			return active.ID != first.ID
		}},
		{credential.Rollback, func(credential.Application) credential.Credential { return first }, func(a credential.Application, c credential.Credential) bool {
			active, _ := a.Active()
			return active.ID == c.ID
		}},
		{credential.Revoke, func(a credential.Application) credential.Credential { return a.In(credential.Draining)[0] }, func(a credential.Application, c credential.Credential) bool {
			now, _ := a.Find(c.ID)
			return now.State == credential.Destroyed
		}},
	} {
		a := w.app()
		asked := credential.Wish{Kind: wish.kind, By: "test", At: w.clock.Now().UTC().Truncate(time.Millisecond)}
		var about credential.Credential
		if wish.of != nil {
			about = wish.of(a)
			asked.Credential = about.ID
		}
		end, err := w.db.JournalEnd(ctx, w.tenant, w.object)
		if err != nil {
			t.Fatal(err)
		}
		ahead := a
		ahead.Wishes = append(ahead.Wishes, asked)
		steps, reached, err := r.Foresee(ctx, ahead, func(a credential.Application) bool { return wish.wanted(a, about) })
		if err != nil || !reached {
			t.Fatalf("%s: reached %v: %v\n%v", wish.kind, reached, err, steps)
		}
		if now, err := w.db.JournalEnd(ctx, w.tenant, w.object); err != nil || now != end {
			t.Fatalf("%s: looking ahead wrote to the journal: %v", wish.kind, err)
		}
		begun := w.clock.Now()
		if _, err := w.db.AddWish(ctx, w.tenant, w.object, asked); err != nil {
			t.Fatal(err)
		}
		w.until(r, 10*time.Minute, string(wish.kind), func(a credential.Application) bool { return wish.wanted(a, about) })
		took := w.clock.Now().Sub(begun)

		// Of the one that the wish is about, and in its order.
		id, shown := about.ID, about.ID
		if id == "" {
			active, _ := w.app().Active()
			id, shown = active.ID, steps[0].Credential
		}
		var want, got []string
		var last time.Time
		for _, s := range steps {
			if s.Credential == shown && s.Action != credential.SeeGone { // which has no entry of its own
				want = append(want, string(s.Action))
				last = s.At
			}
		}
		entries, err := w.db.Journal(ctx, w.tenant, w.object, end, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			over := strings.HasSuffix(e.Text, "is over") // says that the wish is fulfilled, after the step that did it
			if e.Credential == id && e.Outcome == store.Done && !over {
				got = append(got, e.Step)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: foreseen was %q, and it came %q", wish.kind, want, got)
		}
		if off := took - last.Sub(begun); off.Abs() > 70*time.Second { // what is proved several times has its first time
			t.Errorf("%s: it took %v, and the last step was foreseen after %v", wish.kind, took, last.Sub(begun))
		}
	}
}

// The requests that are shown are those that would be sent, with stand-ins for what is
// secret and for what is not known yet.
func TestRequestsAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	a := w.adopt(r)
	wish := credential.Wish{Kind: credential.Renew, By: "test", At: w.clock.Now()}
	renewed := func(a credential.Application) bool {
		active, _ := a.Active()
		return active.Planned.After(wish.At)
	}
	request := func(a credential.Application, action credential.Action) Request {
		t.Helper()
		a.Wishes = []credential.Wish{wish}
		steps, _, err := r.Foresee(t.Context(), a, renewed)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(steps, func(s Foreseen) bool { return s.Action == action })
		if i < 0 || len(steps[i].Requests) == 0 {
			t.Fatalf("no request is shown of %s: %v", action, steps)
		}
		return steps[i].Requests[len(steps[i].Requests)-1]
	}
	add := request(a, credential.Register)
	if add.Method != "POST" || !strings.HasSuffix(add.URL, w.object+"/addKey") ||
		!strings.Contains(add.Body, `"key":"`+shownCertificate+`"`) || !strings.Contains(add.Body, `"proof":"`+graph.ShownProof+`"`) {
		t.Errorf("adding is shown as %+v", add)
	}
	prove := request(a, credential.Prove)
	if !strings.Contains(prove.Body, "client_assertion=<assertion>") || !strings.Contains(prove.Body, "scope="+w.cloud.GraphAudience+"/.default") {
		t.Errorf("proving is shown as %+v", prove)
	}
	// Without a certificate of ours it is the list, with all that are there.
	a.Credentials = nil
	set := request(a, credential.Register)
	if set.Method != "PATCH" || !strings.HasSuffix(set.URL, "/applications/"+w.object) || strings.Count(set.Body, `"keyId"`) != 3 || !strings.Contains(set.Body, shownCertificate) {
		t.Errorf("setting the list is shown as %+v", set)
	}
	if n := len(w.atEntra()); n != 2 {
		t.Errorf("Entra ID has %d certificates", n)
	}
}

// A rehearsal leaves nothing behind, and says what does not work.
func TestRehearse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	results := func(r *Rotator) string {
		var all []string
		for _, h := range r.Rehearse(t.Context(), w.app()) {
			all = append(all, h.Result+" "+h.What+": "+h.Text)
		}
		return strings.Join(all, "\n")
	}
	if said := results(r); strings.Contains(said, ResultFailed) || strings.Count(said, ResultOK+" ") < 4 {
		t.Errorf("all is well, and it says:\n%s", said)
	}
	if ids, err := w.keys.List(t.Context()); err != nil || len(ids) != 1 {
		t.Errorf("the store has %v: %v", ids, err)
	}
	w.change = func(o *Options) {
		o.Stores = map[string]certstore.Store{credential.StoreLocal: fullStore{w.keys}}
		o.Directory = nil
	}
	said := results(w.rotator())
	for _, line := range []string{"failed certificate store", "unknown Graph, reading the application"} {
		if !strings.Contains(said, line) {
			t.Errorf("it does not say %q:\n%s", line, said)
		}
	}
	w.clock.Add(400 * 24 * time.Hour)
	if said := results(w.rotator()); !strings.Contains(said, "failed active certificate, token") {
		t.Errorf("the certificate has expired, and it says:\n%s", said)
	}
}

// fullStore is a store on a full disk.
type fullStore struct{ certstore.Store }

func (fullStore) Put(context.Context, certstore.Entry) error {
	return fmt.Errorf("keeping an entry: %w", errors.New("no space left on device"))
}
