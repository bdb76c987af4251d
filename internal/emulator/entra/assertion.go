package entra

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// clockSkew is how far a client's clock may be off. [K]
const clockSkew = 5 * time.Minute

// checkAssertion checks a client assertion: that it is from the application,
// for this token service, for now, and signed with a private key whose
// certificate is registered, as the front end knows it. One whose issuer is an
// address is another issuer's token, which a federated credential may let pass.
func (e *API) checkAssertion(r request, assertion string, c client) error {
	t, err := token.Parse(assertion)
	if err != nil {
		return malformedAssertion(err)
	}
	issuer, err := t.Claims.Text("iss")
	if err != nil {
		return malformedAssertion(err)
	}
	if strings.Contains(issuer, "://") {
		return e.checkFederated(r, t, issuer, c)
	}
	alg, err := t.Header.Text("alg")
	if err != nil {
		return malformedAssertion(err)
	}
	if alg != "RS256" && alg != "PS256" {
		return unsupportedAlgorithm(alg)
	}
	id, named, err := keyIdentifier(t.Header)
	if err != nil {
		return malformedAssertion(err)
	}
	if !named {
		return refuse(5002723, "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token header.")
	}
	chain, err := certificateChain(t.Header)
	if err != nil {
		return malformedAssertion(err)
	}
	jti, expires, err := e.checkClaims(t.Claims, c.sp.AppID, r.PathValue("tenant"))
	if err != nil {
		return err
	}
	if err := e.checkSigner(r, t, alg, id, chain, c); err != nil {
		return err
	}
	return e.checkReplay(c.sp.AppID, jti, expires)
}

func malformedAssertion(why error) error {
	return refuse(50027, "JWT token is invalid or malformed: %s.", why)
}

func unsupportedAlgorithm(alg string) error {
	return refuse(5002738, "'%s' is not a supported signature algorithm. Supported algorithms are: 'RS256, PS256'.", origin.Printable(alg))
}

// checkClaims checks what the assertion says to the endpoint of a tenant. nbf and
// iat may be missing.
func (e *API) checkClaims(claims token.Members, clientID, tenant string) (jti string, expires time.Time, err error) {
	texts, expires, err := e.checkDated(claims, "iss", "sub", "aud")
	if err != nil {
		return "", expires, err
	}
	if jti, err = claims.Text("jti"); err != nil {
		return "", expires, malformedAssertion(err)
	}
	if e.RefuseReplay && jti == "" {
		return "", expires, missingClaim("jti")
	}
	if !strings.EqualFold(texts["iss"], clientID) || !strings.EqualFold(texts["sub"], clientID) {
		return "", expires, refuse(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	}
	if !e.isOurAudience(texts["aud"], tenant) {
		return "", expires, refuse(700023, "Client assertion audience claim does not match Realm issuer.")
	}
	return jti, expires, e.checkDates(claims)
}

func missingClaim(name string) error {
	return refuse(90014, "The required field '%s' is missing from the credential. Ensure that you have all the necessary parameters for the login request.", name)
}

// checkDated returns claims that must be there, and exp, which must too.
func (e *API) checkDated(claims token.Members, names ...string) (texts map[string]string, expires time.Time, err error) {
	texts = map[string]string{}
	for _, name := range names {
		if texts[name], err = claims.Text(name); err != nil {
			return nil, expires, malformedAssertion(err)
		}
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, _, err := claims.Date(name); err != nil {
			return nil, expires, malformedAssertion(err)
		}
	}
	expires, dated, err := claims.Date("exp")
	if err != nil {
		return nil, expires, malformedAssertion(err)
	}
	for _, name := range names {
		if texts[name] == "" {
			return nil, expires, missingClaim(name)
		}
	}
	if !dated {
		return nil, expires, missingClaim("exp")
	}
	return texts, expires, nil
}

// checkDates checks that claims whose dates can be read are good now.
func (e *API) checkDates(claims token.Members) error {
	from, _, _ := claims.Date("nbf")
	expires, _, _ := claims.Date("exp")
	now := e.Cloud.Now()
	if now.Before(from.Add(-clockSkew)) || now.After(expires.Add(clockSkew)) {
		return refuse(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.", iso7(now), iso7(from), iso7(expires))
	}
	return nil
}

// isOurAudience reports whether an assertion is meant for this token service.
// Microsoft documents the v2 token endpoint; the v1 one and the issuers are
// taken as well [K], the tenant by GUID or domain, the service under any of its
// names. An endpoint for people of any tenant takes its own address [K], which is
// what a client reads in that endpoint's configuration.
func (e *API) isOurAudience(aud, tenant string) bool {
	for _, base := range e.Cloud.Hosts.Bases(origin.Authority) {
		rest, ok := strings.CutPrefix(aud, base+"/")
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(rest, "/")
		if name != e.Directory.TenantID && name != e.Directory.Domain && !(namesNoTenant(name) && name == tenant) {
			continue
		}
		switch rest {
		case "oauth2/v2.0/token", "oauth2/token", "v2.0":
			return true
		}
	}
	return aud == token.Issuer(e.Directory.TenantID) || aud == token.Issuer(e.Directory.Domain)
}

// iso7 is a time as Entra's texts give it, with seven decimals.
func iso7(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// keyIdentifier returns the thumbprint, SHA-1 or SHA-256, by which the header
// names its certificate, and whether it names one at all. The thumbprint is nil
// when what it says is none.
func keyIdentifier(header token.Members) (thumbprint []byte, named bool, err error) {
	for _, name := range []string{"x5t#S256", "x5t", "kid"} {
		value, err := header.Text(name)
		if err != nil {
			return nil, true, err
		}
		if value == "" {
			continue
		}
		named = true
		if thumbprint = decodeThumbprint(value, name == "kid"); thumbprint != nil {
			return thumbprint, true, nil
		}
	}
	return nil, named, nil
}

// decodeThumbprint reads a thumbprint in either alphabet of base64, padded or
// not: base64url is documented, MSAL for Go sends padded standard base64, and
// Entra takes both. A kid may be hexadecimal.
func decodeThumbprint(s string, hexadecimal bool) []byte {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "="))
	if hexadecimal && (len(s) == 40 || len(s) == 64) {
		b, err = hex.DecodeString(s)
	}
	if err != nil || len(b) != 20 && len(b) != 32 {
		return nil
	}
	return b
}

// checkSigner checks the signature against the certificates that are registered
// or, when the assertion brings its certificate along, that a registered name
// stands for.
func (e *API) checkSigner(r request, t token.JWT, alg string, id []byte, chain []*x509.Certificate, c client) error {
	if len(chain) > 0 && !hasThumbprint(chain[0].Raw, id) {
		return refuse(7000274, "Client assertion contains an invalid signature. The certificate in x5c is not the one that the token header names.")
	}
	keys, _ := c.credentials()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k directory.KeyCredential) bool {
		return k.Type != "AsymmetricX509Cert" || k.Usage != "Verify"
	})
	found := findKey(keys, id, e.Cloud.Now())
	trust := len(chain) > 0 && c.app != nil && len(c.app.TrustedSubjects) > 0
	switch {
	case found == nil && trust:
		return e.checkSubject(t, alg, chain, c.app)
	case len(keys) == 0:
		return refuse(700026, "Client application has no configured keys.")
	case e.sticks(r.frontEnd, c, id, found == nil):
		return badKey("The key was not found.", id, nil, c.sp.AppID)
	}
	if e.isRevoked(found.Key) {
		return refuse(7000277, "Certificate was revoked.") // No page has the words. [K]
	}
	now := e.Cloud.Now()
	// The texts know no key that is not valid yet; the start that they print
	// tells. [K]
	if now.Before(found.StartDateTime) || !now.Before(found.EndDateTime) {
		return badKey("The key used is expired.", nil, found, c.sp.AppID)
	}
	if reason := verify(t, alg, found.Key); reason != "" {
		return badKey(reason, nil, found, c.sp.AppID)
	}
	return nil
}

// findKey returns the certificate with a thumbprint: one that is valid now, or
// else the last.
func findKey(keys []directory.KeyCredential, id []byte, now time.Time) (found *directory.KeyCredential) {
	for i := range keys {
		k := &keys[i]
		if !hasThumbprint(k.Key, id) {
			continue
		}
		found = k
		if !now.Before(k.StartDateTime) && now.Before(k.EndDateTime) {
			break
		}
	}
	return found
}

func hasThumbprint(der, id []byte) bool {
	switch len(id) {
	case sha1.Size:
		return bytes.Equal(id, directory.Thumbprint(der))
	case sha256.Size:
		sum := sha256.Sum256(der)
		return bytes.Equal(id, sum[:])
	}
	return false
}

// stickiness is for how long a front end goes on refusing. [K]
const stickiness = 2 * time.Minute

// sticks reports whether a certificate is refused as unknown: because it is, or
// because it was when the same front end was asked shortly before.
func (e *API) sticks(f frontEnd, c client, id []byte, unknown bool) bool {
	if !e.Sticky || e.Cloud.Calm {
		return unknown
	}
	name := fmt.Sprintf("%s %s %x", f.lag, c.sp.AppID, id)
	now := e.Cloud.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, refused := e.unknown.get(name, now); refused {
		return true
	}
	if unknown {
		e.unknown.put(name, struct{}{}, now.Add(stickiness), now)
	}
	return unknown
}

// verify returns the reason for which a signature is refused, or "".
func verify(t token.JWT, alg string, der []byte) (reason string) {
	const unusable = "Key was found, but use of the key to verify the signature failed."
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return unusable
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return unusable // Entra takes RSA alone, and finds out only here.
	}
	digest := sha256.Sum256([]byte(t.Signed))
	pss := rsa.VerifyPSS(key, crypto.SHA256, digest[:], t.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	pkcs1 := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.Signature) == nil
	switch {
	case alg == "PS256" && pss, alg == "RS256" && pkcs1:
		return ""
	case pss, pkcs1:
		return unusable // the right key, with the padding of the other algorithm
	}
	return "The provided signature value did not match the expected signature value."
}

// badKey is AADSTS700027. Its thumbprint is the SHA-1 even when the header
// named the certificate by SHA-256; of a certificate that is not known, it is
// what the header said.
func badKey(reason string, id []byte, found *directory.KeyCredential, clientID string) error {
	what := "Client assertion contains an invalid signature."
	if found == nil {
		what = "The certificate with identifier used to sign the client assertion is not registered on application."
	} else {
		id = directory.Thumbprint(found.Key)
	}
	details := []string{"Reason - " + reason}
	if id != nil {
		details = append(details, fmt.Sprintf("Thumbprint of key used by client: '%X'", id))
	}
	if found != nil {
		const layout = "01/02/2006 15:04:05"
		details = append(details, fmt.Sprintf("Found key 'Start=%s, End=%s'", found.StartDateTime.UTC().Format(layout), found.EndDateTime.UTC().Format(layout)))
	}
	details = append(details, fmt.Sprintf("Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'", clientID))
	return refuse(700027, "%s [%s]", what, strings.Join(details, ", "))
}

// checkReplay refuses an assertion that was used before, when the emulator was
// told to. Microsoft documents that jti must be unique and not that this is
// enforced, so by default it is not. The number is the older one for client
// assertions in general; none is documented for this.
func (e *API) checkReplay(clientID, jti string, expires time.Time) error {
	if !e.RefuseReplay {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Cloud.Now()
	id := lower(clientID) + " " + jti
	if _, used := e.replayed.get(id, now); used {
		return refuse(50012, "Client assertion contains a jti that was used before.")
	}
	e.replayed.put(id, struct{}{}, expires.Add(clockSkew), now)
	return nil
}
