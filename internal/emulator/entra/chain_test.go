package entra_test

import (
	"crypto/sha1"
	"encoding/base64"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// trust makes the application trust a subject name of an authority.
func (w *world) trust(t testing.TB, name string, authority pair) {
	t.Helper()
	w.change(t, func(a *directory.Application) {
		a.TrustedSubjects = []directory.TrustedSubject{{SubjectName: name, Authority: authority.cert.Raw}}
	})
}

// chained is an assertion that brings its certificate along, and those above it.
func (w *world) chained(t testing.TB, signer pair, above ...pair) *assertion {
	t.Helper()
	a := w.goodAssertion()
	sum := sha1.Sum(signer.cert.Raw)
	a.named(map[string]any{"x5t": origin.Base64URL(sum[:])})
	chain := []string{base64.StdEncoding.EncodeToString(signer.cert.Raw)}
	for _, p := range above {
		chain = append(chain, base64.StdEncoding.EncodeToString(p.cert.Raw))
	}
	a.header["x5c"], a.key = chain, signer.key
	return a
}

func TestTrustedSubject(t *testing.T) {
	w := start(t)
	const name = "reeve.example.com"
	from, to := w.Now().Add(-time.Hour), w.Now().Add(time.Hour)
	authority, stranger := mustPair(t, "authority", from, to, nil), mustPair(t, "authority", from, to, nil)
	good := mustPair(t, name, from, to, &authority)
	sign := func(a *assertion) answer { return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t))) }

	// Nobody trusts the subject yet, and the certificate is not registered.
	checkRefusal(t, w, sign(w.chained(t, good)), 700027)
	w.trust(t, name, authority)
	if mustToken(t, sign(w.chained(t, good)))["appidacr"] != "2" {
		t.Error("it is no certificate")
	}
	mustToken(t, sign(w.chained(t, good, authority)))
	// A renewed certificate needs no registration: that is what it is for.
	mustToken(t, sign(w.chained(t, mustPair(t, name, from, to, &authority))))
	mustToken(t, sign(w.goodAssertion())) // The registered one works as before.

	checkRefusal(t, w, sign(w.chained(t, mustPair(t, name, from, to, &stranger), stranger)), 700030)
	checkRefusal(t, w, sign(w.chained(t, mustPair(t, name, from, to, nil))), 700030)
	checkRefusal(t, w, sign(w.chained(t, mustPair(t, "other.example.com", from, to, &authority))), 700030)
	checkRefusal(t, w, sign(w.chained(t, mustPair(t, name, from, from.Add(time.Minute), &authority))), 7000274)
	forged := w.chained(t, good)
	forged.key = w.key
	checkRefusal(t, w, sign(forged), 7000274)
	without := w.chained(t, good)
	delete(without.header, "x5c")
	checkRefusal(t, w, sign(without), 700027)
	for _, x5c := range []any{"text", []string{}, []int{1}, []string{"!"}, []string{"AAAA"}} {
		a := w.chained(t, good)
		a.header["x5c"] = x5c
		checkRefusal(t, w, sign(a), 50027)
	}
}
