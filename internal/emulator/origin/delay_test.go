package origin_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

func TestLags(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &origin.Cloud{Chance: origin.NewChance(1, 1)}
	if c.ReadLag(r) != 0 || c.KeyLag(r) != 0 || c.RoleLag(r) != 0 || c.VaultLag(r) != 0 {
		t.Error("a lag without delays")
	}
	c.SetDelays(origin.Delays{
		Reads: origin.Range{Most: 3 * time.Second}, Keys: origin.Range{Least: 10 * time.Second, Most: 13 * time.Second},
		Roles: origin.Range{Least: time.Minute, Most: time.Minute}, Vault: origin.Range{Least: 3 * time.Minute, Most: 6 * time.Minute},
	})
	for _, part := range []struct {
		name string
		lag  func(*http.Request) time.Duration
		want []time.Duration
	}{
		{"reads", c.ReadLag, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}},
		{"keys", c.KeyLag, []time.Duration{10 * time.Second, 11 * time.Second, 12 * time.Second, 13 * time.Second}},
		{"roles", c.RoleLag, []time.Duration{time.Minute}},
		{"vault", c.VaultLag, []time.Duration{3 * time.Minute, 4 * time.Minute, 5 * time.Minute, 6 * time.Minute}},
	} {
		got, want := map[time.Duration]bool{}, map[time.Duration]bool{}
		for range 200 {
			got[part.lag(r)] = true
		}
		for _, d := range part.want {
			want[d] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the replicas of %s: %s", part.name, diff)
		}
	}
}

var delayTexts = []string{"none", "usual", "reads=1s-30s", "reads=0s-1m0s,keys=4s-5s,roles=10s-3m0s,vault=1m0s-2m0s"}

func TestDelayTexts(t *testing.T) {
	for _, text := range delayTexts {
		d, err := origin.ParseDelays(text)
		if err != nil || d.String() != text {
			t.Errorf("%q becomes %q, %v", text, d, err)
		}
	}
	d, err := origin.ParseDelays("keys=5s")
	if want := (origin.Delays{Keys: origin.Range{Least: 5 * time.Second, Most: 5 * time.Second}}); err != nil || d != want {
		t.Errorf("%+v, %v", d, err)
	}
	for _, text := range []string{"", "usual,", "reads", "reads=", "reads=x", "reads=2s-1s", "reads=-1s-1s", "writes=1s", "reads=1s,reads=2s", "keys=1s-11m", "NONE"} {
		if d, err := origin.ParseDelays(text); err == nil {
			t.Errorf("%q becomes %q", text, d)
		}
	}
}

func FuzzParseDelays(f *testing.F) {
	for _, text := range delayTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := origin.ParseDelays(text)
		if err != nil {
			return
		}
		if again, err := origin.ParseDelays(first.String()); err != nil || again != first {
			t.Errorf("%q is %+v, and its text %q is %+v, %v", text, first, first.String(), again, err)
		}
	})
}
