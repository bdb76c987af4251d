package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// signingKey is a key of the token service.
type signingKey struct {
	id   string // base64url SHA-1 of the certificate, which is kid and x5t alike
	cert []byte // DER
	key  *rsa.PrivateKey
}

// newSigningKeys makes the key that signs and one that is published and signs
// nothing yet, because Entra always publishes several.
func newSigningKeys() ([]signingKey, error) {
	keys := make([]signingKey, 2)
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, fmt.Errorf("making a token signing key: %w", err)
		}
		now := time.Now()
		template := &x509.Certificate{
			SerialNumber: serialNumber(),
			Subject:      pkix.Name{CommonName: "reeve emulated tenant, token signing"},
			NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			return nil, fmt.Errorf("making a token signing certificate: %w", err)
		}
		keys[i] = signingKey{id: base64url(tenant.Thumbprint(der)), cert: der, key: key}
	}
	return keys, nil
}

// issuedToken is an access token, and for how long it is good.
type issuedToken struct {
	access   string
	at       time.Time
	lifetime time.Duration
}

func (e *Emulator) issue(want tokenRequest, lifetime time.Duration) (issuedToken, error) {
	at := e.tenant.Now()
	access, err := e.sign(e.accessClaims(want, at, lifetime))
	if err != nil {
		return issuedToken{}, fmt.Errorf("signing an access token: %w", err)
	}
	return issuedToken{access, at, lifetime}, nil
}

// writeToken answers with an access token. Numbers are numbers at the v2
// endpoint and strings at the v1 endpoint.
func (e *Emulator) writeToken(w http.ResponseWriter, r *http.Request, want tokenRequest, v2 bool) {
	issued, err := e.issue(want, e.lifetime(want.cae))
	if err != nil {
		e.writeRefusal(w, r, err)
		return
	}
	seconds := int64(issued.lifetime/time.Second) - 1
	body := map[string]any{"token_type": "Bearer", "access_token": issued.access}
	if v2 {
		body["expires_in"], body["ext_expires_in"] = seconds, seconds
		if want.cae {
			body["refresh_in"] = seconds / 2
		}
	} else {
		text := strconv.FormatInt(seconds, 10)
		body["expires_in"], body["ext_expires_in"] = text, text
		body["expires_on"] = strconv.FormatInt(issued.at.Unix()+seconds, 10)
		body["not_before"] = strconv.FormatInt(issued.at.Add(-clockSkew).Unix(), 10)
		body["resource"] = want.audience
	}
	entraHeaders(w)
	writeJSON(w, http.StatusOK, body)
}

// lifetime draws how long a token lives: 60 to 90 minutes, or 24 to 28 hours
// for a client that understands continuous access evaluation.
func (e *Emulator) lifetime(cae bool) time.Duration {
	shortest, spread := time.Hour, 30*time.Minute
	if cae {
		shortest, spread = 24*time.Hour, 4*time.Hour
	}
	if e.calm {
		return shortest
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return shortest + time.Duration(e.chance.Int64N(int64(spread/time.Second)))*time.Second
}

// accessClaims are the claims of an access token of version 1.0, which the
// services emulated here ask for whichever endpoint issues it.
func (e *Emulator) accessClaims(want tokenRequest, issued time.Time, lifetime time.Duration) map[string]any {
	issuer := e.tokenIssuer()
	claims := map[string]any{
		"aud":                 want.audience,
		"iss":                 issuer,
		"iat":                 issued.Add(-clockSkew).Unix(),
		"nbf":                 issued.Add(-clockSkew).Unix(),
		"exp":                 issued.Add(lifetime).Unix(),
		"aio":                 opaque(27),
		"app_displayname":     want.principal.DisplayName,
		"appid":               want.principal.ClientID,
		"appidacr":            want.method,
		"idp":                 issuer,
		"idtyp":               "app",
		"oid":                 want.principal.ObjectID,
		"rh":                  "1." + opaque(36) + ".",
		"sub":                 want.principal.ObjectID,
		"tenant_region_scope": "EU",
		"tid":                 e.tenant.ID,
		"uti":                 opaque(16),
		"ver":                 "1.0",
	}
	if roles := e.tenant.Roles(want.principal.ObjectID, want.resource.ObjectID); len(roles) > 0 {
		claims["roles"] = roles
	}
	if want.cae {
		claims["xms_cc"] = []string{"cp1"}
	}
	return claims
}

func (e *Emulator) tokenIssuer() string { return "https://sts.windows.net/" + e.tenant.ID + "/" }

func opaque(n int) string {
	b := make([]byte, n)
	rand.Read(b) // crypto/rand never fails.
	return base64url(b)
}

func (e *Emulator) sign(claims map[string]any) (string, error) {
	k := e.signing[0]
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "RS256", "x5t": k.id, "kid": k.id})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64url(header) + "." + base64url(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64url(signature), nil
}

// caller is who calls an API, as its access token says.
type caller struct {
	TenantID, ClientID, ObjectID string
	Audience                     string // the resource as the client spelled it
	AuthMethod                   string // appidacr: "1" client secret, "2" certificate
	Roles                        []string
}

// Reasons for which authenticate refuses. None contains anything of the token.
var (
	errNoToken      = errors.New("the request has no bearer token")
	errTokenExpired = errors.New("the access token has expired")
)

// authenticate returns who calls, if the bearer token is one that this token
// service issued and that has not expired by the tenant's clock. For whom the
// token is meant, and what its holder may do, is the API's to check.
func (e *Emulator) authenticate(r *http.Request) (caller, error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return caller{}, errNoToken
	}
	t, err := parseJWT(bearer)
	if err != nil {
		return caller{}, fmt.Errorf("the access token is malformed: %w", err)
	}
	if err := e.verifyToken(t); err != nil {
		return caller{}, err
	}
	var claims struct {
		Aud, Iss, Tid, AppID, OID, AppIDACR string
		Exp, Nbf                            int64
		Roles                               []string
	}
	payload, err := json.Marshal(t.claims)
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return caller{}, errors.New("the access token's claims cannot be read")
	}
	if claims.Iss != e.tokenIssuer() {
		return caller{}, errors.New("the access token's issuer is not this tenant's")
	}
	now := e.tenant.Now().Unix()
	if now >= claims.Exp {
		return caller{}, errTokenExpired
	}
	if now < claims.Nbf {
		return caller{}, errors.New("the access token is not valid yet")
	}
	return caller{
		TenantID: claims.Tid, ClientID: claims.AppID, ObjectID: claims.OID,
		Audience: claims.Aud, AuthMethod: claims.AppIDACR, Roles: claims.Roles,
	}, nil
}

func (e *Emulator) verifyToken(t token) error {
	alg, err := t.header.text("alg")
	if err != nil || alg != "RS256" {
		return errors.New("the access token is not signed with RS256")
	}
	kid, err := t.header.text("kid")
	if err != nil {
		return errors.New("the access token's kid is not a string")
	}
	for _, k := range e.signing {
		if k.id != kid {
			continue
		}
		digest := sha256.Sum256([]byte(t.signed))
		if rsa.VerifyPKCS1v15(&k.key.PublicKey, crypto.SHA256, digest[:], t.signature) != nil {
			return errors.New("the access token's signature is invalid")
		}
		return nil
	}
	return errors.New("the access token was signed by a key that is not this token service's")
}

// jwk is a published signing key.
func (k signingKey) jwk(issuer string) map[string]any {
	return map[string]any{
		"kty": "RSA", "use": "sig", "kid": k.id, "x5t": k.id,
		"n": base64url(k.key.N.Bytes()), "e": "AQAB",
		"x5c":                 []string{base64.StdEncoding.EncodeToString(k.cert)},
		"cloud_instance_name": "microsoftonline.com", "issuer": issuer,
	}
}
