package graph_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
)

const year = 365 * 24 * time.Hour

func TestAnApplicationRollsItsOwnKey(t *testing.T) {
	w := newWorld(t)
	old, next := pair(t, 0, year), pair(t, 1, year)
	a := w.application(t, "itself", old)
	c := w.client(t, a.AppID, old) // without any permission
	added, err := c.AddKey(t.Context(), a.ID, next.Certificate, proof(t, old, a.ID))
	if err != nil {
		t.Fatal(err)
	}
	if uuid.Validate(added.KeyID) != nil || !added.IsFor(next.Certificate) || added.IsFor(old.Certificate) ||
		!added.End.Equal(next.Certificate.NotAfter) || added.Type != graph.TypeCertificate || added.Usage != graph.UsageVerify {
		t.Errorf("added %+v", added)
	}
	if err := c.RemoveKey(t.Context(), a.ID, a.KeyCredentials[0].KeyID, proof(t, next, a.ID)); err != nil {
		t.Fatal(err)
	}
	left := w.now(t, a).KeyCredentials
	if len(left) != 1 || left[0].KeyID != added.KeyID {
		t.Errorf("left are %+v", left)
	}
}

// remote stands for a key in a vault: it signs, and is no *rsa.PrivateKey.
type remote struct{ crypto.Signer }

func TestAKeyElsewhereProves(t *testing.T) {
	w := newWorld(t)
	p := pair(t, 0, year)
	a := w.application(t, "elsewhere", p)
	c := w.client(t, a.AppID, p)
	p.Key = remote{p.Key}
	if err := c.RemoveKey(t.Context(), a.ID, a.KeyCredentials[0].KeyID, proof(t, p, a.ID)); err != nil {
		t.Error(err)
	}
}

func TestReadsAnApplication(t *testing.T) {
	w := newWorld(t)
	p := pair(t, 0, year)
	a := w.application(t, "read", p)
	if _, err := w.Tenant.Directory.AddPassword(a.AppID, "abcdefgh", time.Now(), time.Now().Add(year)); err != nil {
		t.Fatal(err)
	}
	c := w.reader(t)
	got, err := c.Application(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.ObjectID != a.ID || got.ClientID != a.AppID || got.Name != "read" || got.Created.IsZero() || time.Since(got.At).Abs() > time.Minute ||
		len(got.Keys) != 1 || !bytes.Equal(got.Keys[0].Key, p.Certificate.Raw) || !got.Keys[0].Start.Equal(p.Certificate.NotBefore) ||
		len(got.Passwords) != 1 || got.Passwords[0].Hint != "abc" || got.Passwords[0].End.IsZero() {
		t.Errorf("got %+v", got)
	}
	again, err := c.ApplicationByClientID(t.Context(), a.AppID)
	if err != nil || again.ObjectID != a.ID || !again.Keys[0].IsFor(p.Certificate) {
		t.Errorf("got %+v, error %v", again, err)
	}
	for _, id := range []string{"", "x/../y", a.ID + "'"} {
		if _, err := c.Application(t.Context(), id); err == nil || !strings.Contains(err.Error(), "GUID") {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := c.ApplicationByClientID(t.Context(), id); err == nil || !strings.Contains(err.Error(), "GUID") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// What was read can be kept as JSON and sent back, whatever tool uploaded it, and
// changes nothing.
func TestSetKeysKeepsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	p, next := pair(t, 0, year), pair(t, 1, year)
	a := w.application(t, "kept", p)
	err := w.Tenant.Directory.ChangeApplication(a.AppID, func(a *directory.Application) error {
		for i, identifier := range [][]byte{nil, directory.Thumbprint(p.Certificate.Raw), []byte("as somebody liked")} {
			odd, err := directory.NewKeyCredential(uuid.NewString(), pair(t, 2, year+time.Duration(i)*time.Hour).Certificate.Raw, time.Time{}, time.Time{})
			if err != nil {
				return err
			}
			odd.CustomKeyIdentifier = identifier
			odd.DisplayName = "<é>"
			odd.EndDateTime = odd.EndDateTime.Add(-123_456_700) // as precise as Graph is
			a.KeyCredentials = append(a.KeyCredentials, odd)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before := w.now(t, a).KeyCredentials
	c := w.writer(t)
	read, err := c.Application(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(read.Keys)
	if err != nil {
		t.Fatal(err)
	}
	var kept []graph.KeyCredential
	if err := json.Unmarshal(stored, &kept); err != nil {
		t.Fatal(err)
	}
	keyID := uuid.NewString()
	if err := c.SetKeys(t.Context(), a.ID, append(kept, graph.NewKey(next.Certificate, keyID))); err != nil {
		t.Fatal(err)
	}
	after := w.now(t, a).KeyCredentials
	if diff := cmp.Diff(before, after[:len(after)-1]); diff != "" {
		t.Errorf("what was there has changed:\n%s", diff)
	}
	if last := after[len(after)-1]; last.KeyID != keyID || !bytes.Equal(last.Key, next.Certificate.Raw) {
		t.Errorf("added %+v", last)
	}

	// One that somebody removed does not come back by itself, and does as a new one.
	if err := w.Tenant.Directory.RemoveKeyCredential(a.AppID, kept[0].KeyID); err != nil {
		t.Fatal(err)
	}
	if err := c.SetKeys(t.Context(), a.ID, kept); !errors.Is(err, graph.ErrConflict) || !strings.Contains(err.Error(), "read the application again") {
		t.Errorf("got %v, want a conflict", err)
	}
	kept[0] = kept[0].AsNew()
	if err := c.SetKeys(t.Context(), a.ID, kept); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, w.now(t, a).KeyCredentials); diff != "" {
		t.Errorf("what was put back differs:\n%s", diff)
	}
	if err := c.SetKeys(t.Context(), a.ID, nil); err != nil || len(w.now(t, a).KeyCredentials) != 0 {
		t.Errorf("emptying the list: %v", err)
	}
}

// Each refusal has its kind, says what to do, and is not tried again.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	old, next := pair(t, 0, year), pair(t, 1, year)
	foreign := pair(t, 2, year)
	change := w.Tenant.Directory.ChangeApplication
	demoID, _ := w.demo()
	policy := func(t *testing.T, keys string) {
		t.Helper()
		err := w.Tenant.Directory.Update(func(u *directory.Update) error {
			u.PutManagementPolicy(&directory.ManagementPolicy{ID: directory.DefaultPolicyID, Definition: json.RawMessage(
				`{"isEnabled": true, "applicationRestrictions": {"keyCredentials": [` + keys + `]}}`)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			w.Tenant.Directory.Update(func(u *directory.Update) error { // It returns no error.
				u.RemoveManagementPolicy(directory.DefaultPolicyID)
				return nil
			})
		})
	}
	const itself, reader, owner, writer = "itself", "reader", "owner", "writer"
	add := func(t *testing.T, c *graph.Client, a *directory.Application) error {
		_, err := c.AddKey(t.Context(), a.ID, next.Certificate, proof(t, old, a.ID))
		return err
	}
	set := func(t *testing.T, c *graph.Client, a *directory.Application, more ...graph.KeyCredential) error {
		read, err := c.Application(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c.SetKeys(t.Context(), a.ID, append(read.Keys, more...))
	}
	tests := []struct {
		name string
		as   string
		do   func(*testing.T, *graph.Client, *directory.Application) error
		kind error
		want string
	}{
		{"the same certificate by a proof", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			_, err := c.AddKey(t.Context(), a.ID, old.Certificate, proof(t, old, a.ID))
			return err
		}, graph.ErrDuplicate, "the key credential that is there"},
		{"the same certificate in the list", writer, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			return set(t, c, a, graph.NewKey(old.Certificate, uuid.NewString()))
		}, graph.ErrDuplicate, "the key credential that is there"},
		{"too long a lifetime", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			policy(t, `{"restrictionType": "asymmetricKeyLifetime", "state": "enabled", "maxLifetime": "P90D"}`)
			return add(t, c, a)
		}, graph.ErrPolicy, "shorten the lifetime"},
		{"an authority that is not trusted", writer, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			policy(t, `{"restrictionType": "trustedCertificateAuthority", "state": "enabled", "certificateBasedApplicationConfigurationIds": ["`+uuid.NewString()+`"]}`)
			return set(t, c, a, graph.NewKey(next.Certificate, uuid.NewString()))
		}, graph.ErrPolicy, "authority that the policy trusts"},
		{"a proof by another certificate", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			_, err := c.AddKey(t.Context(), a.ID, next.Certificate, proof(t, foreign, a.ID))
			return err
		}, graph.ErrProof, "signed with a certificate that the application has"},
		{"a proof for the client ID", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			return c.RemoveKey(t.Context(), a.ID, a.KeyCredentials[0].KeyID, proof(t, old, a.AppID))
		}, graph.ErrProof, "not its client ID"},
		{"a proof by a wrong clock", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			late, err := graph.KeyProof(old, a.ID, time.Now().Add(-time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.AddKey(t.Context(), a.ID, next.Certificate, late)
			return err
		}, graph.ErrProof, "the clock is right"},
		{"a signer that has expired", writer, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			err := change(a.AppID, func(a *directory.Application) error {
				a.KeyCredentials[0].EndDateTime = time.Now().Add(-time.Minute)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return add(t, c, a)
		}, graph.ErrProof, "valid now"},
		{"a missing permission to add", reader, add, m365.ErrForbidden, "sign in as it"},
		{"a missing permission to set", reader, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			return set(t, c, a)
		}, m365.ErrForbidden, "Application.ReadWrite.OwnedBy"},
		{"a missing permission to read", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			_, err := c.Application(t.Context(), a.ID)
			return err
		}, m365.ErrForbidden, "Application.Read.All"},
		{"a missing permission to list", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			for _, err := range c.Applications(t.Context()) {
				return err
			}
			return nil
		}, m365.ErrForbidden, "Application.Read.All"},
		{"the permission without ownership", owner, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			return c.SetKeys(t.Context(), a.ID, nil)
		}, m365.ErrForbidden, "an owner of the application"},
		{"too many", writer, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			err := change(a.AppID, func(a *directory.Application) error {
				for range 600 {
					k := a.KeyCredentials[0]
					k.KeyID = uuid.NewString()
					a.KeyCredentials = append(a.KeyCredentials, k)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return add(t, c, a)
		}, graph.ErrFull, "remove expired certificates"},
		{"a changed credential", writer, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			changed := graph.NewKey(old.Certificate, a.KeyCredentials[0].KeyID)
			changed.Name = "another"
			return c.SetKeys(t.Context(), a.ID, []graph.KeyCredential{changed})
		}, nil, "cannot be changed"},
		{"removed already", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			return c.RemoveKey(t.Context(), a.ID, uuid.NewString(), proof(t, old, a.ID))
		}, m365.ErrNotFound, "nothing is left to do"},
		{"a stale read", reader, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			w.Inject(emulator.Fault{API: "graph", Operation: "application", Kind: "stale-read", Times: 1})
			_, err := c.Application(t.Context(), a.ID)
			return err
		}, m365.ErrNotFound, "may not show yet"},
		{"throttled", itself, func(t *testing.T, c *graph.Client, a *directory.Application) error {
			w.Inject(emulator.Fault{API: "graph", Operation: "addKey", Kind: "throttle", RetryAfter: 7 * time.Second, Times: 1})
			return add(t, c, a)
		}, m365.ErrThrottled, "retry after 7s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := w.application(t, test.name, old)
			var tries atomic.Int32
			count := func(r *http.Request) {
				if strings.Contains(r.URL.Path, "/v1.0/") {
					tries.Add(1)
				}
			}
			var c *graph.Client
			demo, demoPair := w.demo()
			switch test.as {
			case itself:
				c = w.client(t, a.AppID, old, count)
			case owner:
				other := w.application(t, "the other", foreign)
				if err := w.Tenant.Directory.GrantRole(other.AppID, directory.Graph, "Application.ReadWrite.OwnedBy"); err != nil {
					t.Fatal(err)
				}
				c = w.client(t, other.AppID, foreign, count)
			case writer:
				c = w.writer(t, count)
				t.Cleanup(func() {
					if err := w.Tenant.Directory.RevokeRole(demoID, directory.Graph, "Application.ReadWrite.All"); err != nil {
						t.Error(err)
					}
				})
			default:
				c = w.client(t, demo, demoPair, count)
			}
			err := test.do(t, c, a)
			var e *m365.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *m365.Error", err)
			}
			if e.Kind != test.kind || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("got kind %v, %v; want %v and %q", e.Kind, err, test.kind, test.want)
			}
			if x, ok := e.Explanation(); !ok || x.Remedy == "" {
				t.Error("no remedy")
			}
			if n := tries.Load(); n > 2 {
				t.Errorf("%d requests", n)
			}
			if n := tries.Load(); test.kind == graph.ErrProof && n != 1 {
				t.Errorf("%d requests: a proof is not made better by another access token", n)
			}
		})
	}
}

func TestTwoWritersAreToldApart(t *testing.T) {
	w := newWorld(t, func(o *emulator.Options) { o.Calm = false })
	c := w.writer(t)
	w.Tenant.Directory.Settle()
	a := w.application(t, "contended")
	w.Tenant.Directory.Settle()
	for range 200 {
		err := c.SetKeys(t.Context(), a.ID, nil)
		if errors.Is(err, graph.ErrConflict) {
			if !strings.Contains(err.Error(), "Directory_ConcurrencyViolation") || !strings.Contains(err.Error(), "wait 5 seconds") || errors.Is(err, m365.ErrTransient) {
				t.Errorf("got %v", err)
			}
			return
		}
		if err != nil && !errors.Is(err, m365.ErrTransient) && !errors.Is(err, m365.ErrThrottled) {
			t.Fatal(err)
		}
	}
	t.Error("200 writes in a row, and no conflict")
}

// A change whose answer is lost has been made, and is not made again.
func TestALostAnswerIsNotRepeated(t *testing.T) {
	w := newWorld(t)
	old, next := pair(t, 0, year), pair(t, 1, year)
	for _, kind := range []origin.FaultKind{origin.LostResponse, origin.ResetBody, origin.Truncated, origin.ServerError, origin.Reset} {
		t.Run(string(kind), func(t *testing.T) {
			a := w.application(t, string(kind), old)
			var sent atomic.Int32
			c := w.client(t, a.AppID, old, func(r *http.Request) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/addKey") {
					sent.Add(1)
				}
			})
			w.Inject(emulator.Fault{API: "graph", Operation: "addKey", Kind: kind, Times: 1})
			_, err := c.AddKey(t.Context(), a.ID, next.Certificate, proof(t, old, a.ID))
			if !errors.Is(err, m365.ErrTransient) || sent.Load() != 1 {
				t.Errorf("sent %d times, error %v", sent.Load(), err)
			}
			done := kind != origin.ServerError && kind != origin.Reset
			if n := len(w.now(t, a).KeyCredentials); (n == 2) != done {
				t.Errorf("the application has %d key credentials", n)
			}
		})
	}
}

// An access token that is refused is replaced even for a change.
func TestARefusedTokenIsReplaced(t *testing.T) {
	w := newWorld(t)
	old, next := pair(t, 0, year), pair(t, 1, year)
	a := w.application(t, "refused", old)
	c := w.client(t, a.AppID, old)
	w.Inject(emulator.Fault{API: "graph", Operation: "addKey", Kind: "expired-token", Times: 1})
	if _, err := c.AddKey(t.Context(), a.ID, next.Certificate, proof(t, old, a.ID)); err != nil {
		t.Fatal(err)
	}
	if n := len(w.now(t, a).KeyCredentials); n != 2 {
		t.Errorf("the application has %d key credentials", n)
	}
}

// What is shown is what is sent, but for the proof.
func TestShownCalls(t *testing.T) {
	w := newWorld(t)
	old, next := pair(t, 0, year), pair(t, 1, year)
	a := w.application(t, "shown", old)
	var sent, header string
	c := w.writer(t, func(r *http.Request) {
		if r.URL.Host == strings.TrimPrefix(w.Origins().Graph, "https://") && r.Method != http.MethodGet {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			sent, header = fmt.Sprintf("%s %s %s", r.Method, r.URL, body), r.Header.Get("Content-Type")
		}
	})
	show := func(c m365.Call) string { return fmt.Sprintf("%s %s %s", c.Method, c.URL, c.Body) }
	check := func(name string, call m365.Call, secret string) {
		t.Helper()
		if got := show(call); strings.ReplaceAll(sent, secret, graph.ShownProof) != got || header != "application/json" {
			t.Errorf("%s: shown\n%s\nsent as %s\n%s", name, got, header, sent)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(verb, call); strings.Contains(s, "keyId") || strings.Contains(s, "proof") || !strings.Contains(s, call.Method) {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
	secret := proof(t, old, a.ID)
	added, err := c.AddKey(t.Context(), a.ID, next.Certificate, secret)
	if err != nil {
		t.Fatal(err)
	}
	check("addKey", graph.AddKeyCall(w.cloud(t), a.ID, next.Certificate, graph.ShownProof), secret)
	if err := c.RemoveKey(t.Context(), a.ID, added.KeyID, secret); err != nil {
		t.Fatal(err)
	}
	check("removeKey", graph.RemoveKeyCall(w.cloud(t), a.ID, added.KeyID, graph.ShownProof), secret)
	list := []graph.KeyCredential{graph.NewKey(next.Certificate, uuid.NewString())}
	if err := c.SetKeys(t.Context(), a.ID, list); err != nil {
		t.Fatal(err)
	}
	call, err := graph.SetKeysCall(w.cloud(t), a.ID, list)
	if err != nil {
		t.Fatal(err)
	}
	check("PATCH", call, graph.ShownProof)
}

func TestKeyProofRefusesWhatCannotBe(t *testing.T) {
	p, other := pair(t, 0, year), pair(t, 1, year)
	for name, c := range map[string]struct {
		pair pki.Pair
		id   string
		want string
	}{
		"no GUID":     {p, "app", "GUID"},
		"no key":      {pki.Pair{Certificate: p.Certificate}, uuid.NewString(), "no private key"},
		"foreign key": {pki.Pair{Certificate: p.Certificate, Key: other.Key}, uuid.NewString(), "does not belong"},
	} {
		if s, err := graph.KeyProof(c.pair, c.id, time.Now()); err == nil || s != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	header, claims, err := m365.Claims(proof(t, p, "5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10"))
	if err != nil || header["kid"] != pki.SHA1(p.Certificate) || header["x5t"] != pki.X5T(p.Certificate) || header["alg"] != "RS256" ||
		claims["iss"] != "5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10" || claims["aud"] != "00000002-0000-0000-c000-000000000000" {
		t.Errorf("header %v, claims %v, error %v", header, claims, err)
	}
}
