package entra

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// keySet is the keys of an issuer, by kid.
type keySet map[string]*rsa.PublicKey

// AddIssuer makes the tokens of an issuer known, given by its address and its
// JSON Web Key Set, so that federated credentials may name it.
func (e *API) AddIssuer(issuer string, jwks []byte) error {
	keys, err := parseKeySet(jwks)
	if err != nil {
		return fmt.Errorf("reading the keys of the issuer %s: %w", issuer, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.issuers == nil {
		e.issuers = map[string]keySet{}
	}
	e.issuers[issuer] = keys
	return nil
}

func parseKeySet(jwks []byte) (keySet, error) {
	var set struct {
		Keys []struct{ Kty, Kid, N, E string }
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, errors.New("they are not a JSON Web Key Set")
	}
	keys := keySet{}
	for _, k := range set.Keys {
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		exponent, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if k.Kty != "RSA" || err != nil || err2 != nil || len(n) < 256 || len(n) > 1024 || len(exponent) == 0 || len(exponent) > 4 {
			continue // RSA keys of 2048 bits and more are all that Entra takes.
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(exponent).Int64())}
	}
	return keys, nil
}

// checkFederated checks the token of another issuer, which stands for the
// application when one of its federated credentials names issuer, subject and
// audience of it, to the letter.
func (e *API) checkFederated(r request, t token.JWT, issuer string, c client) error {
	alg, err := t.Header.Text("alg")
	if err != nil {
		return malformedAssertion(err)
	}
	if alg != "RS256" {
		return unsupportedAlgorithm(alg)
	}
	texts, _, err := e.checkDated(t.Claims, "sub")
	if err != nil {
		return err
	}
	audiences, err := t.Claims.Texts("aud") // Kubernetes writes a list.
	if err != nil {
		return malformedAssertion(err)
	}
	if len(audiences) == 0 {
		return missingClaim("aud")
	}
	if err := e.checkDates(t.Claims); err != nil {
		return err
	}
	if err := e.matchFederated(r.keys, issuer, texts["sub"], audiences, c); err != nil {
		return err
	}
	return e.checkForeign(r.Context(), t, issuer)
}

// matchFederated finds the federated credential for a token, or says which of
// its three names has no match.
func (e *API) matchFederated(view directory.View, issuer, subject string, audiences []string, c client) error {
	no := func(code int, what, value string) error {
		return refuse(code, "No matching federated identity record found for presented assertion %s '%s'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.", what, origin.Printable(value))
	}
	var all []directory.FederatedCredential
	if c.app != nil {
		all = slices.DeleteFunc(slices.Clone(c.app.FederatedCredentials), func(f directory.FederatedCredential) bool {
			return f.Issuer != issuer && !(e.isOwnIssuer(issuer) && e.isOwnIssuer(f.Issuer))
		})
	}
	if len(all) == 0 {
		return no(700211, "issuer", issuer)
	}
	same := slices.DeleteFunc(slices.Clone(all), func(f directory.FederatedCredential) bool { return f.Subject != subject })
	if len(same) == 0 {
		if slices.ContainsFunc(all, func(f directory.FederatedCredential) bool { return strings.EqualFold(f.Subject, subject) }) {
			return refuse(7002138, "No matching federated identity record found for presented assertion subject '%s'. The subject of a federated identity credential matches but for the case of its letters, which is compared.", origin.Printable(subject))
		}
		return no(700213, "subject", subject)
	}
	accepted := audiences
	// A token of version 2.0 names its resource by client ID; a credential
	// names it by its App ID URI. [K]
	if e.isOwnIssuer(issuer) {
		if resource, ok := view.Resource(audiences[0]); ok {
			accepted = slices.Concat(audiences, resource.ServicePrincipalNames)
		}
	}
	if !slices.ContainsFunc(same, func(f directory.FederatedCredential) bool {
		return slices.ContainsFunc(f.Audiences, func(a string) bool { return slices.Contains(accepted, a) })
	}) {
		return no(700212, "audience", strings.Join(audiences, ", "))
	}
	return nil
}

// isOwnIssuer reports whether an issuer is this tenant, as tokens of version 2.0
// name it.
func (e *API) isOwnIssuer(issuer string) bool {
	return slices.ContainsFunc(e.Cloud.Hosts.Bases(origin.Authority), func(base string) bool {
		return issuer == base+"/"+e.Directory.TenantID+"/v2.0"
	})
}

// checkForeign checks the signature of an issuer's token.
func (e *API) checkForeign(ctx context.Context, t token.JWT, issuer string) error {
	if e.isOwnIssuer(issuer) {
		if e.Keys.Verify(t) != nil {
			return unknownSigner(t, issuer)
		}
		// Of an application, subject and object ID are the same.
		subject, _ := t.Claims.Text("sub")
		if object, err := t.Claims.Text("oid"); err != nil || object != subject {
			return refuse(700229, "Only app tokens can be used as Federated Identity Credentials for AAD issuer.")
		}
		return nil
	}
	keys, err := e.keysOf(ctx, issuer)
	if err != nil {
		e.Cloud.Log.Debug("reading an issuer's keys", "error", err)
		return refuse(501661, "Request to External OIDC endpoint failed.")
	}
	kid, err := t.Header.Text("kid")
	if err != nil {
		return malformedAssertion(err)
	}
	key := keys[kid]
	if key == nil {
		return unknownSigner(t, issuer)
	}
	digest := sha256.Sum256([]byte(t.Signed))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.Signature) != nil {
		return refuse(7000274, "Client assertion contains an invalid signature.")
	}
	return nil
}

func unknownSigner(t token.JWT, issuer string) error {
	kid, _ := t.Header.Text("kid") // One that is no text names no key either.
	return refuse(7000272, "The certificate with identifier %s used to sign the federated credential could not be found in the metadata of identity provider %s. Please validate that your Identity Provider's metadata exposes the key used to sign the incoming token.", origin.Printable(kid), origin.Printable(issuer))
}

// fetchWait is how long an issuer may take to give its keys.
const fetchWait = 5 * time.Second

// keysOf returns an issuer's keys, from what AddIssuer was told or from its
// OpenID configuration.
func (e *API) keysOf(ctx context.Context, issuer string) (keySet, error) {
	e.mu.Lock()
	keys, ok := e.issuers[issuer]
	e.mu.Unlock()
	if ok {
		return keys, nil
	}
	if e.FetchIssuer == nil {
		return nil, errors.New("issuers are not fetched")
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	document, err := e.FetchIssuer(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var configuration struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(document, &configuration); err != nil || configuration.Issuer != issuer || configuration.JWKS == "" {
		return nil, errors.New("the OpenID configuration is not the issuer's")
	}
	if document, err = e.FetchIssuer(ctx, configuration.JWKS); err != nil {
		return nil, err
	}
	return parseKeySet(document)
}
