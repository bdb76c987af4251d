package activity_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/pki"
)

// world is an emulated tenant, and a client that signs in to it by certificate.
type world struct {
	*emulator.Emulator
	tenant *tenant.Tenant
	client *activity.Client
}

// newWorld starts a tenant with subscriptions that have content.
func newWorld(t *testing.T, calm bool) *world {
	t.Helper()
	w := new(world)
	var err error
	w.tenant, err = tenant.New(tenant.Options{Seed: 1, Users: 30, Days: 3, PerUser: 20, BlobRecords: 5, Calm: calm})
	if err != nil {
		t.Fatal(err)
	}
	w.Emulator, err = emulator.Start(emulator.Options{Tenant: w.tenant, Seed: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.client = newClient(t, w, nil)
	return w
}

// newClient makes a client that has no token yet. Its requests pass by change, if
// there is one.
func newClient(t *testing.T, w *world, change func(*http.Request)) *activity.Client {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.AuthorityHost, cloud.Manage = w.Origins().Authority, w.Origins().Manage
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	if change != nil {
		client.Transport = changing{client.Transport, change}
	}
	identity := w.tenant.Client()
	cred, err := m365.NewCredential(cloud, m365.SignIn{
		Method:   m365.MethodCertificate,
		TenantID: w.tenant.ID,
		ClientID: identity.ClientID,
		Pair:     pki.Pair{Certificate: identity.Certificate, Key: identity.Key},
	}, client)
	if err != nil {
		t.Fatal(err)
	}
	c, err := activity.New(activity.Options{
		Cloud: cloud, TenantID: w.tenant.ID, Credential: cred, HTTP: client,
		Retry: m365.Retry{Max: 5, Delay: time.Microsecond, MaxDelay: 2 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// list lists the days that the tenant has.
func (w *world) list(t *testing.T) ([]activity.Content, error) {
	t.Helper()
	var all []activity.Content
	now := time.Now().Add(-time.Second)
	for day := 3; day >= 1; day-- {
		start := now.Add(-time.Duration(day) * 24 * time.Hour)
		for content, err := range w.client.Content(t.Context(), "Audit.SharePoint", start, start.Add(24*time.Hour)) {
			if err != nil {
				return all, err
			}
			all = append(all, content)
		}
	}
	return all, nil
}

// records reads a blob and returns the ids of its records.
func (w *world) records(t *testing.T, uri string) ([]string, error) {
	t.Helper()
	body, err := w.client.Blob(t.Context(), uri)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var records []struct{ ID string }
	if err := json.Unmarshal(data, &records); err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids, nil
}

func TestReadsTheWholeFeed(t *testing.T) {
	w := newWorld(t, false) // with repeated, late and reordered blobs and small pages
	subscriptions, err := w.client.Subscriptions(t.Context())
	if err != nil || !slices.ContainsFunc(subscriptions, func(s activity.Subscription) bool {
		return s.ContentType == "Audit.SharePoint" && s.Enabled()
	}) {
		t.Fatalf("subscriptions %v, error %v", subscriptions, err)
	}
	if err := w.client.Start(t.Context(), "Audit.SharePoint"); err != nil {
		t.Errorf("starting again: %v", err)
	}
	list, err := w.list(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 100 {
		t.Fatalf("the listing has %d blobs", len(list))
	}
	for _, c := range list {
		if c.ContentType != "Audit.SharePoint" || !strings.Contains(c.URI, "$") || c.Expires.Sub(c.Created) != 7*24*time.Hour {
			t.Fatalf("got %+v", c)
		}
	}
	for _, c := range list[:20] {
		if ids, err := w.records(t, c.URI); err != nil || len(ids) == 0 {
			t.Errorf("%s: %d records, error %v", c.ID, len(ids), err)
		}
	}
}

func TestFaultsThatAreOvercome(t *testing.T) {
	w := newWorld(t, true)
	want, err := w.list(t)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs, err := w.records(t, want[0].URI)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []emulator.FaultKind{
		emulator.Throttle, emulator.ThrottleSilent, emulator.AF429, emulator.Unavailable,
		emulator.ServerError, emulator.BadGateway, emulator.Reset,
	} {
		t.Run(string(kind), func(t *testing.T) {
			w.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: kind, Times: 1})
			w.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: kind, Times: 1})
			got, err := w.list(t)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("listed %d blobs, want %d, error %v", len(got), len(want), err)
			}
			if ids, err := w.records(t, want[0].URI); err != nil || !slices.Equal(ids, wantIDs) {
				t.Errorf("got %d records, error %v", len(ids), err)
			}
		})
	}
	t.Run("reset in the middle of a page", func(t *testing.T) {
		w.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: emulator.ResetBody, Times: 2})
		if got, err := w.list(t); err != nil || !slices.Equal(got, want) {
			t.Errorf("listed %d blobs, want %d, error %v", len(got), len(want), err)
		}
	})
	for _, f := range w.Faults() {
		if f.Happened == 0 {
			t.Errorf("%s of %s did not happen", f.Fault.Kind, f.Fault.Operation)
		}
	}
}

func TestFaultsThatAreReported(t *testing.T) {
	tests := []struct {
		operation string
		kind      emulator.FaultKind
		is        error
		want      string
	}{
		{"content", emulator.RepeatPage, nil, "leads back"},
		{"content", emulator.ForeignLink, nil, "sent nowhere else"},
		{"content", emulator.NotArray, m365.ErrTransient, "not a list: No records"},
		{"content", emulator.NotJSON, m365.ErrTransient, "not a list"},
		{"content", emulator.Truncated, m365.ErrTransient, "documented list"},
		{"content", emulator.ServerError, m365.ErrTransient, "AF50000"},
		{"content", emulator.AF429, m365.ErrThrottled, "AF429"},
		{"blob", emulator.Gone, activity.ErrGone, "AF20051"},
		{"blob", emulator.ResetBody, m365.ErrTransient, "reading a content blob"},
		{"blob", emulator.BadGateway, m365.ErrTransient, "502"},
	}
	for _, test := range tests {
		t.Run(test.operation+" "+string(test.kind), func(t *testing.T) {
			w := newWorld(t, true)
			list, err := w.list(t)
			if err != nil {
				t.Fatal(err)
			}
			w.Inject(emulator.Fault{API: "manage", Operation: test.operation, Kind: test.kind})
			if test.operation == "blob" {
				_, err = w.records(t, list[0].URI)
			} else {
				_, err = w.list(t)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want kind %v", err, test.is)
			}
		})
	}
}

func TestLongRetryAfterIsTheCallersToWait(t *testing.T) {
	w := newWorld(t, true)
	w.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: emulator.Throttle, RetryAfter: 5 * time.Minute})
	_, err := w.list(t)
	var e *m365.Error
	if !errors.As(err, &e) || !errors.Is(err, m365.ErrThrottled) || e.RetryAfter != 5*time.Minute {
		t.Errorf("got %v, want throttled for five minutes", err)
	}
	if f := w.Faults(); f[0].Happened != 1 {
		t.Errorf("asked %d times, want once", f[0].Happened)
	}
}

// ids are those of a listing, each once and in order. An unkind tenant lists some
// blobs twice, and some late.
func ids(list []activity.Content) []string {
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// changing changes requests on their way.
type changing struct {
	http.RoundTripper
	change func(*http.Request)
}

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	c.change(r)
	return c.RoundTripper.RoundTrip(r)
}

func TestTokenThatIsRefusedInMidPaging(t *testing.T) {
	w := newWorld(t, false)
	want, err := w.list(t)
	if err != nil {
		t.Fatal(err)
	}
	signIns, listings := 0, 0
	w.client = newClient(t, w, func(r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			signIns++
		case strings.HasSuffix(r.URL.Path, "/content"):
			if listings++; listings == 3 { // the API has its own view of the token
				r.Header.Set("Authorization", "Bearer expired")
			}
		}
	})
	got, err := w.list(t)
	if err != nil {
		t.Fatal(err)
	}
	gotIDs := ids(got)
	for _, id := range ids(want) {
		if _, ok := slices.BinarySearch(gotIDs, id); !ok {
			t.Errorf("%s is missing", id)
		}
	}
	if signIns != 2 {
		t.Errorf("signed in %d times, want 2", signIns)
	}
}

func TestMissingPermission(t *testing.T) {
	w := newWorld(t, true)
	const managementAPIs = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
	if err := w.tenant.Directory.RevokeRole(w.tenant.Client().ClientID, managementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	// The token that is kept still has the role, as with Microsoft; a client that
	// begins now does not.
	fresh := newClient(t, w, nil)
	_, err := fresh.Subscriptions(t.Context())
	if !errors.Is(err, m365.ErrForbidden) || !strings.Contains(err.Error(), "ActivityFeed.Read") || !strings.Contains(err.Error(), "admin consent") {
		t.Errorf("got %v, want what to grant", err)
	}
}
