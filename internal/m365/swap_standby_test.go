package m365_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

func TestFallsBackToTheStandby(t *testing.T) {
	refuseActive := func(code int, text string) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) {
			s.gate.set(func(thumbprint string) *http.Response {
				if thumbprint == pki.X5TS256(s.active.Certificate) {
					return refusal(401, code, text)
				}
				return nil
			}, nil)
		}
	}
	for _, test := range []struct {
		name   string
		code   int
		happen func(*testing.T, *scene)
	}{
		{"removed", 700027, func(t *testing.T, s *scene) { s.remove(t, s.active) }},
		{"expired in the directory", 700027, func(t *testing.T, s *scene) {
			s.remove(t, s.active)
			s.registerUntil(t, s.active, s.clock.Now().Add(time.Minute))
			s.clock.Add(2 * time.Minute)
		}},
		{"no keys at all, then the other", 700026, func(t *testing.T, s *scene) {
			s.remove(t, s.active)
			s.remove(t, s.other)
			var once sync.Once
			s.gate.set(nil, func(string) { once.Do(func() { s.register(t, s.other) }) })
		}},
		{"expired, and the clock agrees", 700024, func(t *testing.T, s *scene) {
			// The SDK signs by this machine's clock, and the key that it does not
			// take by the credential's.
			end := s.clock.Now().Add(30 * time.Minute)
			expiring := pairUntil(t, 3, end)
			s.registerUntil(t, expiring, end)
			if err := s.cred.Swap(t.Context(), expiring); err != nil {
				t.Fatal(err)
			}
			s.active = expiring
			s.cred.SetStandby(pki.Pair{Certificate: s.other.Certificate, Key: farKey{Signer: s.other.Key}})
			s.clock.Add(time.Hour)
		}},
		// The emulator knows of no revocation, and says 700027 of every certificate
		// that is outside its time.
		{"revoked", 7000214, refuseActive(7000214, "Certificate has been revoked.")},
		{"revoked by its authority", 7000277, refuseActive(7000277, "Certificate was revoked.")},
		{"outside its validity", 1000502, refuseActive(1000502, "The provided certificate is not within its specified validity window.")},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			kept := s.get(t, graph)
			s.cred.SetStandby(s.other)
			test.happen(t, s)
			s.get(t, manage)
			s.uses(t, s.other)
			heard := s.heard()
			if len(heard) != 1 || !strings.Contains(heard[0], fmt.Sprintf("%v to %v: ", s.active, s.other)) ||
				!strings.Contains(heard[0], fmt.Sprintf("AADSTS%d", test.code)) {
				t.Errorf("heard %q", heard)
			}
			if test.code != 700024 && s.get(t, graph) != kept { // there it is an hour old
				t.Error("the good token of the refused certificate was lost")
			}
			if n := s.gate.triesWith(s.other); n != 1 {
				t.Errorf("%d requests with the standby, want 1", n)
			}
		})
	}
}

func TestStaysWithTheActivePair(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   int // 0 for none
		happen func(*testing.T, *scene)
	}{
		{"disabled application", 7000112, func(t *testing.T, s *scene) {
			if err := s.Tenant.Directory.ChangeApplication(s.clientID(), func(a *directory.Application) error {
				a.IsDisabled = true
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}},
		{"conditional access", 53003, func(t *testing.T, s *scene) {
			a := s.Do(t, http.MethodPut, s.Origins().Control+"/applications/"+s.clientID()+"/blocked", `{"blocked":true}`,
				"Content-Type", "application/json", "Authorization", "Bearer "+s.Control())
			if a.Status >= 300 {
				t.Fatalf("blocking: %d %s", a.Status, a.Text)
			}
		}},
		{"this machine's clock", 700024, func(t *testing.T, s *scene) { s.clock.Add(time.Hour) }},
		{"throttled", 90055, func(_ *testing.T, s *scene) {
			s.gate.set(func(string) *http.Response { return refusal(429, 90055, "Throttled.") }, nil)
		}},
		{"failing, with a code of the certificate", 700027, func(_ *testing.T, s *scene) {
			s.gate.set(func(string) *http.Response { return refusal(503, 700027, "Try again.") }, nil)
		}},
		{"unreachable", 0, func(t *testing.T, s *scene) {
			if os.Getenv("TEST_LONG") == "" {
				t.Skip("needs TEST_LONG=1: the SDK waits for seconds between its tries")
			}
			s.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: emulator.Reset})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.cred.SetStandby(s.other)
			test.happen(t, s)
			_, err := m365.Token(t.Context(), s.cred, manage)
			var refused *m365.SignInError
			if !errors.As(err, &refused) || test.code != 0 && !refused.Has(test.code) {
				t.Fatalf("got %v, want AADSTS%d", err, test.code)
			}
			if strings.Contains(err.Error(), "standby") || s.gate.triesWith(s.other) != 0 || len(s.heard()) != 0 {
				t.Errorf("the standby was tried: %v", err)
			}
			s.uses(t, s.active)
		})
	}
}

func TestStandbyRefusedToo(t *testing.T) {
	s := newScene(t)
	s.remove(t, s.active)
	fails := func(want ...string) {
		t.Helper()
		_, err := m365.Token(t.Context(), s.cred, manage)
		var refused *m365.SignInError
		if !errors.As(err, &refused) || !refused.Has(700027) || !strings.Contains(refused.SignIn, pki.SHA1(s.active.Certificate)) || errors.Is(err, m365.ErrTransient) {
			t.Fatalf("got %v, want the active certificate's refusal", err)
		}
		if x, ok := refused.Explanation(); !ok || x.Title != "the application does not know this certificate" {
			t.Errorf("explained as %q", x.Title)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("got %v, want %q in it", err, w)
			}
		}
		s.uses(t, s.active)
	}
	fails()
	s.cred.SetStandby(s.active) // is none
	fails()
	s.cred.SetStandby(s.unknown)
	fails("refused too", pki.SHA1(s.unknown.Certificate), "AADSTS700027")
	for range 5 {
		fails("not tried again", pki.SHA1(s.unknown.Certificate))
	}
	s.cred.SetStandby(s.unknown) // the same one is no news
	fails("not tried again")
	if n := s.gate.triesWith(s.unknown); n != 1 {
		t.Errorf("the refused standby was tried %d times", n)
	}
	ours := emulatortest.NewClock(s.clock.Now().Add(5*time.Minute + time.Second))
	s.cred.Now = ours.Now
	fails("refused too")
	s.cred.SetStandby(pki.Pair{Certificate: s.other.Certificate})
	fails("cannot be used", "no private key")
	if len(s.heard()) != 0 {
		t.Error("OnSwap was called")
	}
	s.cred.SetStandby(pki.Pair{})
	fails()
	s.cred.SetStandby(s.other)
	s.get(t, manage)
	s.uses(t, s.other)
}

func TestStandbyIsUnavailable(t *testing.T) {
	s := newScene(t)
	s.remove(t, s.active)
	s.cred.SetStandby(s.other)
	var down atomic.Bool
	down.Store(true)
	s.gate.set(func(thumbprint string) *http.Response {
		if down.Load() && thumbprint == pki.X5TS256(s.other.Certificate) {
			return refusal(400, 7000112, "Application is disabled.")
		}
		return nil
	}, nil)
	_, err := m365.Token(t.Context(), s.cred, manage)
	if err == nil || !strings.Contains(err.Error(), "AADSTS700027") || !strings.Contains(err.Error(), "got no token either: AADSTS7000112") {
		t.Errorf("got %v, want both attempts", err)
	}
	s.uses(t, s.active)

	s.gate.set(func(thumbprint string) *http.Response {
		if down.Load() && thumbprint == pki.X5TS256(s.other.Certificate) {
			return refusal(503, 90033, "A transient error has occurred.")
		}
		return nil
	}, nil)
	_, err = m365.Token(t.Context(), s.cred, manage)
	if err == nil || !strings.Contains(err.Error(), "AADSTS700027") || !strings.Contains(err.Error(), "got no token either: AADSTS90033") {
		t.Errorf("got %v, want both attempts", err)
	}
	down.Store(false) // and at once it is tried again
	s.get(t, manage)
	s.uses(t, s.other)
}

func TestFlappingIsBounded(t *testing.T) {
	s := newScene(t)
	s.cred.SetStandby(s.other)
	ours := emulatortest.NewClock(s.clock.Now())
	s.cred.Now = ours.Now
	s.remove(t, s.active)
	token := s.get(t, manage)
	s.uses(t, s.other)

	s.remove(t, s.other)
	s.register(t, s.active)
	s.cred.Forget(token)
	tries := s.gate.triesWith(s.active)
	_, err := m365.Token(t.Context(), s.cred, manage)
	if err == nil || !strings.Contains(err.Error(), "not tried again before") || s.gate.triesWith(s.active) != tries {
		t.Errorf("got %v after %d tries", err, s.gate.triesWith(s.active)-tries)
	}
	ours.Add(5 * time.Minute)
	s.get(t, manage)
	s.uses(t, s.active)
	if n := len(s.heard()); n != 2 {
		t.Errorf("heard of %d swaps, want 2", n)
	}
}

func TestManyCallersFallBackOnce(t *testing.T) {
	for _, refusedToo := range []bool{false, true} {
		s := newScene(t)
		s.cred.SetStandby(s.other)
		s.remove(t, s.active)
		if refusedToo {
			s.remove(t, s.other)
			s.register(t, s.unknown)
		}
		resources := []string{manage, graph, vault}
		start := make(chan struct{})
		var group sync.WaitGroup
		for i := range 300 {
			group.Go(func() {
				<-start
				_, err := m365.Token(t.Context(), s.cred, resources[i%3])
				if (err != nil) != refusedToo {
					t.Error(err)
				}
			})
		}
		close(start)
		group.Wait()
		active, other := s.gate.triesWith(s.active), s.gate.triesWith(s.other)
		if refusedToo {
			// Who comes after the refusal asks again.
			if other != 1 || len(s.heard()) != 0 {
				t.Errorf("the standby was tried %d times and taken %d times", other, len(s.heard()))
			}
			continue
		}
		if active > 3 || other > 3 || len(s.heard()) != 1 {
			t.Errorf("%d requests with the refused certificate, %d with the standby, for 3 resources; heard of %d swaps", active, other, len(s.heard()))
		}
	}
}
