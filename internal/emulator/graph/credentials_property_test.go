package graph

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// Whatever is patched in whatever order: what a PATCH mentions stays as it was,
// byte for byte, what it does not mention goes, no certificate is there twice,
// and what is refused changes nothing.
func TestKeyCredentialsAfterRandomPatches(t *testing.T) {
	var pool [][]byte
	for i := range 8 {
		pool = append(pool, certificate(t, fmt.Sprint("pool ", i)))
	}
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var current []directory.KeyCredential
			accepted, refused := 0, 0
			for range 40 {
				wanted, mentioned := randomPatch(r, pool, current)
				before := bytes.Clone(asJSON(t, current))
				after, err := patch(t, current, wanted...)
				if !bytes.Equal(before, asJSON(t, current)) {
					t.Fatal("the list before changed")
				}
				if err != nil {
					refused++
					continue
				}
				accepted++
				checkPatched(t, mentioned, len(wanted), after)
				current = after
			}
			if accepted == 0 || refused == 0 {
				t.Errorf("%d were accepted and %d refused, want some of both", accepted, refused)
			}
		})
	}
}

// randomPatch mentions some of the current keys, some as they were read and
// some by keyId alone, and adds some certificates, which may be there already.
func randomPatch(r *rand.Rand, pool [][]byte, current []directory.KeyCredential) (wanted []members, mentioned []directory.KeyCredential) {
	for i, k := range current {
		switch r.IntN(4) {
		case 0: // dropped
			continue
		case 1:
			wanted = append(wanted, members{"keyId": k.KeyID})
		default:
			wanted = append(wanted, renderKeyCredentials(current, r.IntN(2) == 0)[i])
		}
		mentioned = append(mentioned, k)
	}
	for range r.IntN(3) {
		wanted = append(wanted, uploaded(pool[r.IntN(len(pool))], nil))
	}
	r.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	return wanted, mentioned
}

func checkPatched(t *testing.T, mentioned []directory.KeyCredential, wanted int, after []directory.KeyCredential) {
	t.Helper()
	if len(after) != wanted {
		t.Fatalf("%d keys are there, want %d", len(after), wanted)
	}
	byID, byThumbprint := map[string]directory.KeyCredential{}, map[string]bool{}
	for _, k := range after {
		thumbprint := string(directory.Thumbprint(k.Key))
		if byThumbprint[thumbprint] {
			t.Fatalf("certificate %x is there twice", thumbprint)
		}
		byThumbprint[thumbprint], byID[k.KeyID] = true, k
	}
	for _, k := range mentioned {
		if diff := cmp.Diff(k, byID[k.KeyID]); diff != "" {
			t.Fatalf("a key that was mentioned changed (-before +after):\n%s", diff)
		}
	}
	if len(byID) != len(after) {
		t.Fatalf("%d keyIds for %d keys", len(byID), len(after))
	}
}

func FuzzParseKeyInputs(f *testing.F) {
	der := certificate(f, "fuzz")
	text := append(privatePEM(f), []byte("-----BEGIN CERTIFICATE-----\n"+b64(der)+"\n-----END CERTIFICATE-----\n")...)
	for _, k := range []members{
		uploaded(der, nil), uploaded(text, members{"displayName": "x"}),
		uploaded(der, members{"keyId": "11111111-1111-4111-8111-111111111111", "customKeyIdentifier": "AAAA"}),
		{"keyId": "11111111-1111-4111-8111-111111111111", "startDateTime": "2026-11-21T12:00:00Z", "endDateTime": nil},
		{"type": "Symmetric", "usage": "Sign", "key": "AAAA"},
	} {
		f.Add([]byte(asJSON(f, []members{k})))
	}
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		inputs, err := parseKeyInputs(body)
		if err != nil {
			if err.Status != 400 || err.Code == "" || err.Message == "" {
				t.Fatalf("refused with %+v", err)
			}
			return
		}
		all, err := replaceKeyCredentials(nil, inputs, noon)
		if err != nil {
			return
		}
		if len(all) != len(inputs) {
			t.Fatalf("%d keys were made of %d", len(all), len(inputs))
		}
		for i, k := range all {
			if !k.EndDateTime.After(k.StartDateTime) || bytes.Contains(k.Key, []byte("PRIVATE")) {
				t.Fatalf("made %+v", k)
			}
			inputs[i].KeyID, inputs[i].Key = k.KeyID, nil
		}
		again, err := replaceKeyCredentials(all, inputs, noon)
		if err != nil || !cmp.Equal(all, again) {
			t.Fatalf("repeated it becomes %+v, %v", again, err)
		}
		sentBack, err := parseKeyInputs(json.RawMessage(asJSON(t, renderKeyCredentials(all, true))))
		if err != nil {
			t.Fatalf("what is rendered cannot be read: %v", err)
		}
		if again, err = replaceKeyCredentials(all, sentBack, noon); err != nil || !cmp.Equal(all, again) {
			t.Fatalf("sent back it becomes %+v, %v", again, err)
		}
	})
}

func FuzzPublicCertificate(f *testing.F) {
	der, file := pkcs12File(f, "fuzz", "")
	f.Add(der, "")
	f.Add(file, "")
	f.Add(append(privatePEM(f), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), "")
	f.Add([]byte("-----BEGIN CERTIFICATE-----"), "x")
	f.Fuzz(func(t *testing.T, uploaded []byte, password string) {
		got := publicCertificate(uploaded, password)
		if got == nil {
			return
		}
		if c, err := x509.ParseCertificate(got); err != nil || !bytes.Equal(c.Raw, got) {
			t.Fatalf("%x is not a certificate and nothing else: %v", got, err)
		}
	})
}
