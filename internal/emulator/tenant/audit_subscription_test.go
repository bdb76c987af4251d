package tenant

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSubscriptions(t *testing.T) {
	c := newClock()
	l := NewAuditLog(testOptions(c))
	if n := len(l.Subscriptions()); n != numContentTypes {
		t.Errorf("%d subscriptions at first", n)
	}
	l.StopAll()
	if n := len(l.Subscriptions()); n != 0 {
		t.Errorf("%d subscriptions after StopAll", n)
	}
	for r := range l.Records() {
		t.Fatalf("record %v without any subscription", r)
	}
	const kind = "Audit.SharePoint"
	start := c.Now()
	if err := l.StartSubscription(kind, nil); err != nil {
		t.Fatal(err)
	}
	c.add(14 * time.Minute)
	if err := l.StartSubscription(kind, nil); err != ErrStartedLately {
		t.Errorf("a start after 14 minutes: %v", err)
	}
	if n := len(listAll(t, l, kind, start.Add(-24*time.Hour), c.Now())); n != 0 {
		t.Errorf("%d blobs within 14 minutes of the first start", n)
	}
	c.add(2 * time.Minute)
	if err := l.StartSubscription(kind, nil); err != ErrAlreadyEnabled {
		t.Errorf("a start after 16 minutes: %v", err)
	}
	c.add(time.Hour)
	for _, b := range listAll(t, l, kind, start.Add(-24*time.Hour), c.Now()) {
		if b.Created.Before(start) {
			t.Errorf("a blob created %v before the start", start.Sub(b.Created))
		}
	}
	if err := l.StopSubscription(kind); err != nil {
		t.Fatal(err)
	}
	if err := l.StopSubscription(kind); err != ErrNotSubscribed {
		t.Errorf("a second stop: %v", err)
	}
	stopped := c.Now()
	c.add(time.Hour)
	if err := l.StartSubscription(kind, nil); err != nil {
		t.Fatal(err)
	}
	again := c.Now()
	c.add(time.Hour)
	n := 0
	for _, b := range listAll(t, l, kind, start, c.Now()) {
		n++
		if !b.Created.Before(stopped) && b.Created.Before(again) {
			t.Errorf("a blob was created while the subscription was stopped")
		}
	}
	if n == 0 {
		t.Error("no content after an hour")
	}
	want := []Subscription{{ContentType: kind, Enabled: true}}
	if diff := cmp.Diff(want, l.Subscriptions()); diff != "" {
		t.Error(diff)
	}
}

// FirstContentDelay may be as long as the service documents.
func TestFirstContentDelay(t *testing.T) {
	c := newClock()
	o := testOptions(c)
	o.FirstContentDelay = 12 * time.Hour
	l := NewAuditLog(o)
	l.StopAll()
	const kind = "Audit.SharePoint"
	if err := l.StartSubscription(kind, nil); err != nil {
		t.Fatal(err)
	}
	start := c.Now()
	c.add(12*time.Hour - time.Second)
	if n := len(listAll(t, l, kind, start, c.Now())); n != 0 {
		t.Errorf("%d blobs within 12 hours of the first start", n)
	}
	c.add(time.Second)
	if n := len(listAll(t, l, kind, start, c.Now())); n == 0 {
		t.Error("no content after 12 hours")
	}
}

func TestWebhookOfASubscription(t *testing.T) {
	c := newClock()
	o := testOptions(c)
	o.Calm = true
	l := NewAuditLog(o)
	const kind = "Audit.SharePoint"
	hook := Webhook{Address: "https://127.0.0.1/", ClientID: "c", Expires: c.Now().Add(3 * time.Hour)}
	current := func() *Webhook {
		for _, s := range l.Subscriptions() {
			if s.ContentType == kind {
				return s.Webhook
			}
		}
		return nil
	}
	if err := l.CheckStart(kind, &hook); err != nil || current() != nil {
		t.Fatalf("checking: %v, %v", err, current())
	}
	if err := l.StartSubscription(kind, &hook); err != nil {
		t.Fatal(err)
	}
	if blobs := l.TakeNew(kind, 1000); len(blobs) != 0 {
		t.Errorf("%d blobs are new as soon as the webhook is set", len(blobs))
	}
	start := c.Now()
	c.add(2 * time.Hour)
	again := hook
	if err := l.CheckStart(kind, &again); err != ErrAlreadyEnabled {
		t.Errorf("setting the webhook that is set: %v", err)
	}
	want := listAll(t, l, kind, start, c.Now().Add(time.Millisecond))
	var got []Blob
	for more := l.TakeNew(kind, 2); len(more) > 0; more = l.TakeNew(kind, 2) {
		got = append(got, more...)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 3 {
		t.Errorf("%d blobs: %s", len(want), diff)
	}
	l.DisableWebhook(kind, &hook)
	c.add(30 * time.Minute)
	if blobs := l.TakeNew(kind, 1000); len(blobs) != 0 || !current().Disabled {
		t.Errorf("%d blobs for a disabled webhook", len(blobs))
	}
	l.DisableWebhook("DLP.All", current()) // of another subscription
	for _, s := range l.Subscriptions() {
		if s.ContentType != kind && s.Webhook != nil {
			t.Errorf("%s has a webhook", s.ContentType)
		}
	}
	if err := l.StartSubscription(kind, &again); err != nil {
		t.Errorf("enabling the webhook again: %v", err)
	}
	l.DisableWebhook(kind, &hook) // an older one
	c.add(29 * time.Minute)
	if blobs := l.TakeNew(kind, 1000); len(blobs) == 0 {
		t.Error("nothing is new to a webhook that was enabled again")
	}
	c.add(time.Minute)
	if blobs := l.TakeNew(kind, 1000); len(blobs) != 0 || !current().Expired(c.Now()) {
		t.Errorf("%d blobs for an expired webhook", len(blobs))
	}
	if err := l.StartSubscription(kind, nil); err != nil || current() != nil {
		t.Errorf("a start without a webhook: %v, %v", err, current())
	}
}

func TestRecordingOff(t *testing.T) {
	c := newClock()
	l := NewAuditLog(testOptions(c))
	const kind = "Audit.SharePoint"
	off := c.Now()
	l.Record(false)
	l.Record(false)
	if l.Recording() {
		t.Error("auditing is still on")
	}
	c.add(2 * time.Hour)
	on := c.Now()
	l.Record(true)
	c.add(2 * time.Hour)
	before, after := 0, 0
	listAll(t, l, kind, off.Add(-time.Hour), c.Now()) // late blobs come with the second listing
	for _, b := range listAll(t, l, kind, off.Add(-time.Hour), c.Now()) {
		switch {
		case b.Created.Before(off):
			before++
		case b.Created.Before(on):
			t.Errorf("a blob of %s, when auditing was off", b.Created)
		default:
			after++
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d blobs before and %d after", before, after)
	}
	for r := range l.Records() {
		if !r.Created.Before(off) && r.Created.Before(on) {
			t.Fatalf("a record of %s is announced", r.Created)
		}
	}
}

func TestContentIDsInBothForms(t *testing.T) {
	c := newClock()
	o := testOptions(c)
	l := NewAuditLog(o)
	older, newer := "", ""
	for _, b := range listAll(t, l, "Audit.Exchange", c.Now().Add(-24*time.Hour), c.Now()) {
		if strings.HasSuffix(b.ID, "$04") {
			older = b.ID
		} else {
			newer = b.ID
		}
		body(t, l, b.ID)
	}
	if older == "" || newer == "" {
		t.Fatalf("older form %q, newer form %q", older, newer)
	}
	for _, id := range []string{
		"", "$", "$$$04", "x$x$y$04", "9999999999999$9999999999999$y$04", "1$1$y$04",
		"99999999999999999999$99999999999999999999$y$04", strings.Replace(older, "$", "$1", 1),
	} {
		if err := l.WriteBody(nil, id); err != ErrBadContentID {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{strings.Replace(older, "ebspo", "ebspO", 1), "100000999999$100000999999$y$04"} {
		if err := l.WriteBody(nil, id); err != ErrNoContent {
			t.Errorf("%q: %v", id, err)
		}
	}
	o.Calm = true
	for _, b := range listAll(t, NewAuditLog(o), "Audit.Exchange", c.Now().Add(-24*time.Hour), c.Now()) {
		if strings.HasSuffix(b.ID, "$04") {
			t.Errorf("a calm log has %s", b.ID)
		}
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	c := newClock()
	l := NewAuditLog(testOptions(c))
	l.StopAll()
	hook := &Webhook{Address: "https://127.0.0.1/", AuthID: "a", ClientID: "c", Expires: c.Now().Add(9 * time.Hour), Host: "manage.office.com"}
	for kind, w := range map[string]*Webhook{"Audit.General": hook, "DLP.All": nil} {
		if err := l.StartSubscription(kind, w); err != nil {
			t.Fatal(err)
		}
	}
	c.add(time.Hour)
	if err := l.StopSubscription("DLP.All"); err != nil {
		t.Fatal(err)
	}
	l.Record(false)
	l.TakeNew("Audit.General", 1)
	c.add(time.Hour)
	saved, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other := NewAuditLog(testOptions(c))
	if err := other.Restore(saved); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.Subscriptions(), other.Subscriptions()); diff != "" {
		t.Error(diff)
	}
	again, err := other.Snapshot()
	if err != nil || string(again) != string(saved) {
		t.Errorf("%v\n%s\n%s", err, saved, again)
	}
	if other.Recording() {
		t.Error("auditing is on again")
	}
	if a, b := slices.Collect(l.Records()), slices.Collect(other.Records()); len(a) != len(b) || len(a) == 0 {
		t.Errorf("%d records, after restoring %d", len(a), len(b))
	}
	for _, bad := range []string{
		"", "[]", `{"recording":[[2,1]]}`, `{"subscriptions":[{"contentType":"Audit.Nothing"}]}`,
		`{"subscriptions":[{"contentType":"DLP.All"},{"contentType":"DLP.All"}]}`,
		`{"subscriptions":[{"contentType":"DLP.All","spans":[[1,5],[4,6]]}]}`,
	} {
		if err := other.Restore([]byte(bad)); err == nil {
			t.Errorf("%q was restored", bad)
		}
	}
	if again, err := other.Snapshot(); err != nil || string(again) != string(saved) {
		t.Errorf("a bad snapshot left its mark: %v %s", err, again)
	}
}

// What is started and stopped while the clock is set back can be kept, and
// content belongs to the reader as the last of it says.
func TestSubscriptionsOfASteppedClock(t *testing.T) {
	c := newClock()
	o := testOptions(c)
	o.Calm = true
	l := NewAuditLog(o)
	const kind = "Audit.General"
	shown := func(at time.Time) bool {
		t.Helper()
		l.AddBlob(kind, at, []byte("[]"))
		now := c.Now()
		c.add(at.Add(time.Hour).Sub(now))
		defer func() { c.add(now.Sub(c.Now())) }()
		return len(listAll(t, l, kind, at, at.Add(time.Second))) > 0
	}
	kept := func() {
		t.Helper()
		saved, err := l.Snapshot()
		if err == nil {
			err = NewAuditLog(o).Restore(saved)
		}
		if err != nil {
			t.Error(err)
		}
	}
	begun := c.Now()
	if err := l.StopSubscription(kind); err != nil {
		t.Fatal(err)
	}
	l.Record(false)
	c.add(-2 * time.Hour)
	if err := l.StartSubscription(kind, nil); err != nil {
		t.Fatal(err)
	}
	l.Record(true)
	kept()
	for _, after := range []time.Duration{-3 * time.Hour, -time.Hour, time.Hour} {
		if !shown(begun.Add(after)) {
			t.Errorf("started: content of %s is not listed", after)
		}
	}
	c.add(-4 * time.Hour)
	if err := l.StopSubscription(kind); err != nil {
		t.Fatal(err)
	}
	kept()
	if shown(begun.Add(-time.Hour + time.Second)) {
		t.Error("stopped: content of later is listed")
	}
	if err := l.StartSubscription(kind, nil); err != nil {
		t.Errorf("starting four hours before the last start: %v", err)
	}
	c.add(-2 * time.Hour)
	l.Record(false)
	if l.Recording() {
		t.Error("auditing is on")
	}
	kept()
}
