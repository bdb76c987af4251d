package pki_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// ecKey makes a P-256 key.
func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.NewKey(pki.P256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantProblem fails the test unless err is a *pki.Problem with a remedy and with
// the text in it.
func wantProblem(t *testing.T, err error, text string) {
	t.Helper()
	var p *pki.Problem
	switch {
	case !errors.As(err, &p):
		t.Errorf("got %v, want a problem", err)
	case p.Cause == "" || p.Remedy == "":
		t.Errorf("cause or remedy is missing: %+v", p)
	case !strings.Contains(err.Error(), text):
		t.Errorf("got %q, want %q in it", err, text)
	}
}

func TestNewKey(t *testing.T) {
	for _, kind := range pki.KeyTypes() {
		t.Run(string(kind), func(t *testing.T) {
			if testing.Short() && kind == pki.RSA4096 {
				t.Skip("takes long")
			}
			key, err := pki.NewKey(kind)
			if err != nil {
				t.Fatal(err)
			}
			var got pki.KeyType
			switch pub := key.Public().(type) {
			case *rsa.PublicKey:
				got = map[int]pki.KeyType{2048: pki.RSA2048, 3072: pki.RSA3072, 4096: pki.RSA4096}[pub.N.BitLen()]
				if pub.E != 65537 {
					t.Errorf("the exponent is %d", pub.E)
				}
			case *ecdsa.PublicKey:
				got = pki.KeyType(strings.ToLower(pub.Curve.Params().Name))
			}
			if got != kind {
				t.Errorf("got %q", got)
			}
		})
	}
	for _, kind := range []pki.KeyType{"", "rsa-1024", "p-521", "ed25519", "RSA-2048"} {
		_, err := pki.NewKey(kind)
		wantProblem(t, err, "rsa-2048, rsa-3072, rsa-4096, p-256 or p-384")
	}
}

// TestNewKeyRate compares with bare crypto/rsa. Both make the same keys, so that
// luck, which makes one key take ten times as long as another, does not count.
func TestNewKeyRate(t *testing.T) {
	if os.Getenv("TEST_LONG") == "" {
		t.Skip("needs TEST_LONG=1")
	}
	const keys = 100
	var ours, bare time.Duration // of one key
	makers := []func(){
		func() { defer since(&ours)(); pki.NewKey(pki.RSA2048) },
		func() { defer since(&bare)(); rsa.GenerateKey(rand.Reader, 2048) },
	}
	var oursAll, bareAll time.Duration
	var rates []float64
	for seed := range uint64(keys) {
		ours, bare = 0, 0
		for i := range makers {
			cryptotest.SetGlobalRandom(t, seed)
			makers[(i+int(seed))%2]()
		}
		oursAll, bareAll = oursAll+ours, bareAll+bare
		rates = append(rates, bare.Seconds()/ours.Seconds())
	}
	slices.Sort(rates)
	rate := rates[keys/2] // what else the machine does in between does not count
	t.Logf("%d RSA-2048 keys: %.1f ms each, bare crypto/rsa %.1f ms, %.1f %% of its rate (median)", keys, oursAll.Seconds()*1000/keys, bareAll.Seconds()*1000/keys, rate*100)
	if rate < 0.95 {
		t.Errorf("%.1f %% of the bare rate, want 95", rate*100)
	}
}

// since adds up the time until the function that it returns is called.
func since(sum *time.Duration) func() {
	start := time.Now()
	return func() { *sum += time.Since(start) }
}

// BenchmarkNewKey makes a key by NewKey and one by bare crypto/rsa in turn, and tells
// the rate of the first as a part of the second's.
func BenchmarkNewKey(b *testing.B) {
	var ours, bare time.Duration
	for b.Loop() {
		done := since(&ours)
		if _, err := pki.NewKey(pki.RSA2048); err != nil {
			b.Fatal(err)
		}
		done()
		done = since(&bare)
		if _, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
			b.Fatal(err)
		}
		done()
	}
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "of-bare")
	b.ReportMetric(float64(b.N)/ours.Seconds(), "keys/s")
}
