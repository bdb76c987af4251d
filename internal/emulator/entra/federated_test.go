package entra_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

const (
	foreignIssuer  = "https://ci.example.com"
	foreignSubject = "repo:contoso/reeve:ref:refs/heads/main"
	exchange       = "api://AzureADTokenExchange"
)

// jwks is the key set of an issuer that signs with the client's key.
func (w *world) jwks(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "kid": "ci", "n": origin.Base64URL(w.key.N.Bytes()), "e": origin.Base64URL(big.NewInt(int64(w.key.E)).Bytes()),
	}}})
	ok(t, err)
	return b
}

// foreign is the token of another issuer, which a federated credential lets
// pass.
func (w *world) foreign(t testing.TB) *assertion {
	t.Helper()
	w.change(t, func(a *directory.Application) {
		a.FederatedCredentials = []directory.FederatedCredential{{Issuer: foreignIssuer, Subject: foreignSubject, Audiences: []string{exchange}}}
	})
	ok(t, w.AddIssuer(foreignIssuer, w.jwks(t)))
	return &assertion{
		header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": "ci"},
		claims: map[string]any{
			"iss": foreignIssuer, "sub": foreignSubject, "aud": exchange,
			"nbf": w.Now().Unix(), "exp": w.Now().Add(5 * time.Minute).Unix(),
		},
		key: w.key,
	}
}

func TestFederatedCredential(t *testing.T) {
	w := start(t)
	good := w.foreign(t)
	ask := func(a *assertion) answer { return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t))) }
	claims := mustToken(t, ask(good))
	if claims["appid"] != w.app.AppID || claims["appidacr"] != "2" {
		t.Errorf("the claims are %v", claims)
	}
	forged := w.foreign(t)
	forged.key = mustPair(t, "x", w.Now(), w.Now().Add(time.Hour), nil).key
	checkRefusal(t, w, ask(forged), 7000274)
	old := w.foreign(t)
	old.claims["nbf"], old.claims["exp"] = w.Now().Add(-time.Hour).Unix(), w.Now().Add(-6*time.Minute).Unix()
	checkRefusal(t, w, ask(old), 700024)
	slash := w.foreign(t)
	slash.claims["iss"] = foreignIssuer + "/"
	checkRefusal(t, w, ask(slash), 700211)
	upper := w.foreign(t)
	upper.claims["aud"] = "api://azureadtokenexchange"
	checkRefusal(t, w, ask(upper), 700212)
	// Kubernetes writes the audience as a list.
	list := w.foreign(t)
	list.claims["aud"] = []string{"https://cluster.example.com", exchange}
	mustToken(t, ask(list))
	list.claims["aud"] = []string{"https://cluster.example.com"}
	checkRefusal(t, w, ask(list), 700212)
	list.claims["aud"] = []string{}
	checkRefusal(t, w, ask(list), 90014)
	list.claims["aud"] = []any{exchange, 1}
	checkRefusal(t, w, ask(list), 50027)
	hs := w.foreign(t)
	hs.header["alg"] = "HS256"
	checkRefusal(t, w, ask(hs), 5002738)
	w.change(t, func(a *directory.Application) { a.FederatedCredentials = nil })
	checkRefusal(t, w, ask(good), 700211)
}

func TestIssuerIsFetched(t *testing.T) {
	asked := map[string]int{}
	w := start(t)
	a := w.foreign(t)
	const other = "https://id.example.com/realm"
	a.claims["iss"] = other
	w.change(t, func(a *directory.Application) { a.FederatedCredentials[0].Issuer = other })
	keys := w.jwks(t)
	w.FetchIssuer = func(_ context.Context, url string) ([]byte, error) {
		asked[url]++
		switch url {
		case other + "/.well-known/openid-configuration":
			return []byte(`{"issuer":"` + other + `","jwks_uri":"https://id.example.com/keys"}`), nil
		case "https://id.example.com/keys":
			return keys, nil
		}
		return nil, errors.New("not there")
	}
	mustToken(t, w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t))))
	if len(asked) != 2 {
		t.Errorf("asked for %v", asked)
	}
	keys = []byte("{")
	checkRefusal(t, w, w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t))), 501661)
}

func TestManagedIdentityAsFederatedCredential(t *testing.T) {
	w := start(t)
	identity := &directory.ServicePrincipal{
		ID: "5b5e2c22-0000-4000-8000-000000000001", AppID: "5b5e2c22-0000-4000-8000-000000000002", DisplayName: "web",
		AccountEnabled: true, ServicePrincipalType: directory.TypeManagedIdentity,
	}
	ok(t, w.Directory.Update(func(u *directory.Update) error { u.PutServicePrincipal(identity); return nil }))
	service, _ := w.Directory.View(0).Resource(exchange)
	w.change(t, func(a *directory.Application) {
		a.FederatedCredentials = []directory.FederatedCredential{{
			// As the portal writes it, whatever host the client reaches.
			Issuer: "https://login.microsoftonline.com/" + w.Directory.TenantID + "/v2.0", Subject: identity.ID, Audiences: []string{exchange},
		}}
	})
	issued, err := w.IssueToIdentity(identity, service, exchange)
	ok(t, err)
	mustToken(t, w.post(t, w.v2("token"), w.byAssertion(issued.Text)))
	graph, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.Graph)
	issued, err = w.IssueToIdentity(identity, graph, "https://graph.microsoft.com")
	ok(t, err)
	// A token of version 1.0 has another issuer.
	checkRefusal(t, w, w.post(t, w.v2("token"), w.byAssertion(issued.Text)), 700211)
}

func FuzzKeySet(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"RSA","n":"!","e":""}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		api := &entra.API{}
		if err := api.AddIssuer(foreignIssuer, b); err != nil && json.Valid(b) && len(b) > 0 && b[0] == '{' {
			var set struct{ Keys []json.RawMessage }
			if json.Unmarshal(b, &set) == nil && set.Keys == nil {
				t.Errorf("%s: %v", b, err)
			}
		}
	})
}
