package emulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// clockSkew is how far a client's clock may be off.
const clockSkew = 5 * time.Minute

// token is a JWT, taken apart but not yet believed.
type token struct {
	header, claims members
	signed         string // what the signature is over
	signature      []byte
}

// members are a JSON object's, by their exact names.
type members map[string]json.RawMessage

// parseJWT takes a JWT in compact form apart. RFC 7515 wants its parts in
// base64url without padding, and Entra refuses them with it.
func parseJWT(s string) (token, error) {
	var t token
	header, rest, ok := strings.Cut(s, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return t, errors.New("it does not have three parts")
	}
	for _, part := range []struct {
		text string
		into *members
	}{{header, &t.header}, {claims, &t.claims}} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part.text)
		if err != nil {
			return t, errors.New("a part is not base64url without padding")
		}
		if err := json.Unmarshal(b, part.into); err != nil || *part.into == nil {
			return t, errors.New("a part is not a JSON object")
		}
	}
	var err error
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(signature); err != nil {
		return t, errors.New("a part is not base64url without padding")
	}
	t.signed = s[:len(header)+1+len(claims)]
	return t, nil
}

// text returns a member that is a string, or "" when there is none.
func (m members) text(name string) (string, error) {
	raw, ok := m[name]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("its %s is not a string", name)
	}
	return *s, nil
}

// date returns a member that is a NumericDate. RFC 7519 allows fractions, and
// MSAL for Python sends them.
func (m members) date(name string) (_ time.Time, present bool, _ error) {
	raw, ok := m[name]
	if !ok {
		return time.Unix(0, 0), false, nil
	}
	var seconds *float64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds == nil {
		return time.Time{}, true, fmt.Errorf("its %s is not a number", name)
	}
	whole, fraction := math.Modf(min(max(*seconds, 0), 1<<37)) // 1970 to the year 6325
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// checkAssertion checks a client assertion: that it is from the application,
// for this token service, for now, and signed with a private key whose
// certificate is registered now.
func (e *Emulator) checkAssertion(assertion string, app tenant.Application, sp tenant.ServicePrincipal) error {
	malformed := func(why error) error {
		return refuse(50027, "JWT token is invalid or malformed: %s.", why)
	}
	t, err := parseJWT(assertion)
	if err != nil {
		return malformed(err)
	}
	alg, err := t.header.text("alg")
	if err != nil {
		return malformed(err)
	}
	if alg != "RS256" && alg != "PS256" {
		return refuse(5002738, "'%s' is not a supported signature algorithm. Supported algorithms are: 'RS256, PS256'.", printable(alg))
	}
	id, named, err := keyIdentifier(t.header)
	if err != nil {
		return malformed(err)
	}
	if !named {
		return refuse(5002723, "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token header.")
	}
	jti, expires, err := e.checkClaims(t.claims, app.ClientID)
	var no *refusal
	if err != nil && !errors.As(err, &no) {
		return malformed(err)
	}
	if err != nil {
		return err
	}
	if err := e.checkKey(t, alg, id, app, sp); err != nil {
		return err
	}
	return e.checkReplay(app.ClientID, jti, expires)
}

// checkClaims checks what the assertion says. nbf and iat may be missing.
func (e *Emulator) checkClaims(claims members, clientID string) (jti string, expires time.Time, err error) {
	texts := map[string]string{}
	for _, name := range []string{"aud", "iss", "sub", "jti"} {
		if texts[name], err = claims.text(name); err != nil {
			return "", expires, err
		}
	}
	from, _, err := claims.date("nbf")
	if err != nil {
		return "", expires, err
	}
	if _, _, err = claims.date("iat"); err != nil {
		return "", expires, err
	}
	expires, dated, err := claims.date("exp")
	if err != nil {
		return "", expires, err
	}
	missing := ""
	switch {
	case texts["iss"] == "":
		missing = "iss"
	case texts["sub"] == "":
		missing = "sub"
	case texts["aud"] == "":
		missing = "aud"
	case !dated:
		missing = "exp"
	case e.refuseReplay && texts["jti"] == "":
		missing = "jti"
	}
	if missing != "" {
		return "", expires, refuse(90014, "The required field '%s' is missing from the credential. Ensure that you have all the necessary parameters for the login request.", missing)
	}
	if !strings.EqualFold(texts["iss"], clientID) || !strings.EqualFold(texts["sub"], clientID) {
		return "", expires, refuse(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	}
	if !e.isOurAudience(texts["aud"]) {
		return "", expires, refuse(700023, "Client assertion audience claim does not match Realm issuer.")
	}
	now := e.tenant.Now()
	if now.Before(from.Add(-clockSkew)) || now.After(expires.Add(clockSkew)) {
		return "", expires, refuse(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.", iso7(now), iso7(from), iso7(expires))
	}
	return texts["jti"], expires, nil
}

// isOurAudience reports whether an assertion is meant for this token service.
// Microsoft documents the v2 token endpoint; the v1 one and the issuers are
// taken as well, the tenant by GUID or domain.
func (e *Emulator) isOurAudience(aud string) bool {
	for _, name := range []string{e.tenant.ID, e.tenant.Domain} {
		base := e.origins.Authority + "/" + name
		switch aud {
		case base + "/oauth2/v2.0/token", base + "/oauth2/token", base + "/v2.0", "https://sts.windows.net/" + name + "/":
			return true
		}
	}
	return false
}

// iso7 is a time as Entra's texts give it, with seven decimals.
func iso7(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// keyIdentifier returns the thumbprint, SHA-1 or SHA-256, by which the header
// names its certificate, and whether it names one at all. The thumbprint is nil
// when what it says is none.
func keyIdentifier(header members) (thumbprint []byte, named bool, err error) {
	for _, name := range []string{"x5t#S256", "x5t", "kid"} {
		value, err := header.text(name)
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

// checkKey checks the signature against the key credentials that the
// application, or its service principal, has now.
func (e *Emulator) checkKey(t token, alg string, id []byte, app tenant.Application, sp tenant.ServicePrincipal) error {
	var keys []tenant.KeyCredential
	for _, k := range append(app.KeyCredentials, sp.KeyCredentials...) {
		if k.Type == "AsymmetricX509Cert" && k.Usage == "Verify" {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return refuse(700026, "Client application has no configured keys.")
	}
	now := e.tenant.Now()
	var found *tenant.KeyCredential
	for _, k := range keys {
		sha256 := sha256.Sum256(k.Certificate)
		if id == nil || string(id) != string(sha256[:]) && string(id) != string(tenant.Thumbprint(k.Certificate)) {
			continue
		}
		found = &k
		if !now.Before(k.Start) && now.Before(k.End) {
			break
		}
	}
	if found == nil {
		return badKey("The key was not found.", id, nil, app.ClientID)
	}
	// The texts know no key that is not valid yet; the start that they print
	// tells.
	if now.Before(found.Start) || !now.Before(found.End) {
		return badKey("The key used is expired.", nil, found, app.ClientID)
	}
	if reason := verify(t, alg, found.Certificate); reason != "" {
		return badKey(reason, nil, found, app.ClientID)
	}
	return nil
}

// verify returns the reason for which a signature is refused, or "".
func verify(t token, alg string, der []byte) (reason string) {
	const unusable = "Key was found, but use of the key to verify the signature failed."
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return unusable
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return unusable // Entra takes RSA alone, and finds out only here.
	}
	digest := sha256.Sum256([]byte(t.signed))
	pss := rsa.VerifyPSS(key, crypto.SHA256, digest[:], t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	pkcs1 := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil
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
func badKey(reason string, id []byte, found *tenant.KeyCredential, clientID string) error {
	what := "Client assertion contains an invalid signature."
	if found == nil {
		what = "The certificate with identifier used to sign the client assertion is not registered on application."
	} else {
		id = tenant.Thumbprint(found.Certificate)
	}
	details := []string{"Reason - " + reason}
	if id != nil {
		details = append(details, fmt.Sprintf("Thumbprint of key used by client: '%X'", id))
	}
	if found != nil {
		const layout = "01/02/2006 15:04:05"
		details = append(details, fmt.Sprintf("Found key 'Start=%s, End=%s'", found.Start.UTC().Format(layout), found.End.UTC().Format(layout)))
	}
	details = append(details, fmt.Sprintf("Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'", clientID))
	return refuse(700027, "%s [%s]", what, strings.Join(details, ", "))
}

// checkReplay refuses an assertion that was used before, when the emulator was
// told to. Microsoft documents that jti must be unique and not that this is
// enforced, so by default it is not. The number is the older one for client
// assertions in general; none is documented for this.
func (e *Emulator) checkReplay(clientID, jti string, expires time.Time) error {
	if !e.refuseReplay {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.tenant.Now()
	for id, until := range e.replayed {
		if now.After(until.Add(clockSkew)) {
			delete(e.replayed, id)
		}
	}
	id := strings.ToLower(clientID) + " " + jti
	if _, used := e.replayed[id]; used {
		return refuse(50012, "Client assertion contains a jti that was used before.")
	}
	e.replayed[id] = expires
	return nil
}
