package emulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// vault is as much of Key Vault as signing in needs: to read certificates, and
// the secrets that hold their private keys.
func (e *Emulator) vault() api {
	return api{
		name:    vaultAPI,
		handler: http.HandlerFunc(e.serveVault),
		operation: func(r *http.Request) string {
			operation, _, _ := vaultOperation(r)
			return operation
		},
		refuse: refuseVault,
	}
}

// vaultOperation names the operation of a request, and the object that it is
// about. The SDKs ask for the newest version by a slash at the end.
func vaultOperation(r *http.Request) (operation, name, version string) {
	if r.Method != http.MethodGet {
		return "", "", ""
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if len(parts) > 3 {
		return "", "", ""
	}
	parts = append(parts, "", "")
	collection, name, version := parts[0], parts[1], parts[2]
	switch {
	case collection == "certificates" && name == "" && version == "":
		return "certificates", "", ""
	case collection == "certificates" && (name == "issuers" || name == "contacts" || name == "restore"):
		return "", "", ""
	case collection == "certificates" && name != "" && version == "versions":
		return "versions", name, ""
	case name == "" || version == "policy" || version == "pending" || version == "versions":
		return "", "", ""
	case collection == "certificates":
		return "certificate", name, version
	case collection == "secrets":
		return "secret", name, version
	}
	return "", "", ""
}

// vaultPermissions says what an access policy must hold for an operation.
var vaultPermissions = map[string]string{
	"certificates": "certificates/list",
	"versions":     "certificates/list",
	"certificate":  "certificates/get",
	"secret":       "secrets/get",
}

var (
	vaultName    = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	vaultVersion = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
)

func (e *Emulator) serveVault(w http.ResponseWriter, r *http.Request) {
	// Before anything else: the SDKs send their first request without token
	// and body to be told where to get one.
	c, err := e.authenticate(r)
	if err == nil && c.Audience != "https://vault.azure.net" && c.Audience != tenant.KeyVault {
		err = fmt.Errorf("AKV10022: Invalid audience. Expected https://vault.azure.net, found: %s", c.Audience)
	}
	if err != nil {
		e.challenge(w, r, err)
		return
	}
	// Query decodes the names of parameters, too; JavaScript's SDK sends
	// api%2Dversion.
	query := r.URL.Query()
	operation, name, version := vaultOperation(r)
	switch {
	case query.Get("api-version") == "":
		writeVaultError(w, r, http.StatusBadRequest, "BadParameter", "", "The request is missing the query parameter api-version.")
		return
	case name != "" && !vaultName.MatchString(name):
		writeVaultError(w, r, http.StatusBadRequest, "BadParameter", "", "The request URI contains an invalid name: "+printable(name))
		return
	case version != "" && !vaultVersion.MatchString(version):
		writeVaultError(w, r, http.StatusBadRequest, "BadParameter", "", "The request URI contains an invalid version: "+printable(version))
		return
	}
	permission := vaultPermissions[operation]
	if !e.tenant.Vault.Allowed(c.ObjectID, permission) {
		collection, action, _ := strings.Cut(permission, "/")
		writeVaultError(w, r, http.StatusForbidden, "Forbidden", "AccessDenied",
			fmt.Sprintf("The user, group or application 'appid=%s;oid=%s;iss=%s' does not have %s %s permission on key vault '%s;location=emulated'.",
				c.ClientID, c.ObjectID, e.tokenIssuer(), collection, action, e.tenant.Vault.Name))
		return
	}
	if name == "" || operation == "versions" {
		e.listCertificates(w, r, name, query)
		return
	}
	e.getFromVault(w, r, operation, name, version)
}

// challenge tells a client where to get which token.
func (e *Emulator) challenge(w http.ResponseWriter, r *http.Request, err error) {
	text := err.Error()
	switch {
	case errors.Is(err, errNoToken):
		text = "AKV10000: Request is missing a Bearer or PoP token."
	case !strings.HasPrefix(text, "AKV"):
		text = "AKV10001: " + text + "."
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="%s/%s", resource="https://vault.azure.net"`, e.origins.Authority, e.tenant.ID))
	writeVaultError(w, r, http.StatusUnauthorized, "Unauthorized", "", text)
}

func (e *Emulator) getFromVault(w http.ResponseWriter, r *http.Request, operation, name, version string) {
	c, ok := e.tenant.Vault.Certificate(name, version)
	if !ok {
		kind := strings.ToUpper(operation[:1]) + operation[1:]
		writeVaultError(w, r, http.StatusNotFound, kind+"NotFound", "",
			fmt.Sprintf("A %s with (name/id) %s was not found in this key vault. If you recently deleted this %s you may be able to recover it using the correct recovery command.", operation, name, operation))
		return
	}
	vaultHeaders(w, r)
	if operation == "secret" {
		// A secret may be read outside its certificate's dates, for recovery,
		// but not when it is disabled.
		if !c.Enabled {
			writeVaultError(w, r, http.StatusForbidden, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.")
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"value": c.Secret, "contentType": c.ContentType, "managed": true,
			"id": e.vaultID("secrets", c), "kid": e.vaultID("keys", c),
			"attributes": vaultAttributes(c), "tags": map[string]string{},
		})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"id": e.vaultID("certificates", c), "kid": e.vaultID("keys", c), "sid": e.vaultID("secrets", c),
		"x5t":        base64url(tenant.Thumbprint(c.Certificate.Raw)),
		"cer":        base64.StdEncoding.EncodeToString(c.Certificate.Raw),
		"attributes": vaultAttributes(c),
		"policy":     e.vaultPolicy(c),
		"tags":       map[string]string{},
	})
}

// pageSize is the most that a list of the vault holds.
const pageSize = 25

// listCertificates lists certificates, or the versions of one, a page at a time.
func (e *Emulator) listCertificates(w http.ResponseWriter, r *http.Request, name string, query url.Values) {
	size := pageSize
	if text := query.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageSize {
			writeVaultError(w, r, http.StatusBadRequest, "BadParameter", "", "The parameter maxresults must be between 1 and 25.")
			return
		}
		size = n
	}
	from := 0
	if text := query.Get("$skiptoken"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			writeVaultError(w, r, http.StatusBadRequest, "BadParameter", "", "The parameter $skiptoken is invalid.")
			return
		}
		from = n
	}
	certificates := e.tenant.Vault.Certificates()
	if name != "" {
		certificates = e.tenant.Vault.Versions(name)
	}
	value := []map[string]any{}
	for _, c := range certificates[min(from, len(certificates)):min(from+size, len(certificates))] {
		id := e.vaultID("certificates", c)
		if name == "" {
			id = strings.TrimSuffix(id, "/"+c.Version)
		}
		value = append(value, map[string]any{
			"id": id, "x5t": base64url(tenant.Thumbprint(c.Certificate.Raw)),
			"attributes": vaultAttributes(c), "subject": c.Certificate.Subject.String(), "tags": map[string]string{},
		})
	}
	var next any
	if from+size < len(certificates) {
		query.Set("$skiptoken", strconv.Itoa(from+size))
		next = e.origins.Vault + r.URL.Path + "?" + query.Encode()
	}
	vaultHeaders(w, r)
	writeJSON(w, http.StatusOK, map[string]any{"value": value, "nextLink": next})
}

func (e *Emulator) vaultID(collection string, c tenant.VaultCertificate) string {
	return e.origins.Vault + "/" + collection + "/" + c.Name + "/" + c.Version
}

func vaultAttributes(c tenant.VaultCertificate) map[string]any {
	return map[string]any{
		"enabled": c.Enabled,
		"nbf":     c.Certificate.NotBefore.Unix(), "exp": c.Certificate.NotAfter.Unix(),
		"created": c.Created.Unix(), "updated": c.Created.Unix(),
		"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
	}
}

func (e *Emulator) vaultPolicy(c tenant.VaultCertificate) map[string]any {
	return map[string]any{
		"id":           e.origins.Vault + "/certificates/" + c.Name + "/policy",
		"key_props":    map[string]any{"exportable": true, "kty": "RSA", "key_size": 2048, "reuse_key": false},
		"secret_props": map[string]any{"contentType": c.ContentType},
		"x509_props": map[string]any{
			"subject": c.Certificate.Subject.String(), "validity_months": 12,
			"key_usage": []string{"digitalSignature", "keyEncipherment"},
			"ekus":      []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"},
		},
		"lifetime_actions": []map[string]any{
			{"trigger": map[string]any{"lifetime_percentage": 80}, "action": map[string]any{"action_type": "EmailContacts"}},
		},
		"issuer":     map[string]any{"name": "Unknown"},
		"attributes": map[string]any{"enabled": true, "created": c.Created.Unix(), "updated": c.Created.Unix()},
	}
}

func vaultHeaders(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("x-ms-request-id", uuid.NewString())
	h.Set("x-ms-keyvault-region", "emulated")
	h.Set("x-ms-keyvault-service-version", "0.0.0.0")
	h.Set("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;")
	if id := r.Header.Get("x-ms-client-request-id"); isGUID(id) {
		h.Set("x-ms-client-request-id", id)
	}
}

func writeVaultError(w http.ResponseWriter, r *http.Request, status int, code, inner, message string) {
	vaultHeaders(w, r)
	body := map[string]any{"code": code, "message": message}
	if inner != "" {
		body["innererror"] = map[string]any{"code": inner}
	}
	writeJSON(w, status, map[string]any{"error": body})
}

func refuseVault(w http.ResponseWriter, r *http.Request, f failure) {
	code := "InternalServerError"
	switch f.status {
	case http.StatusTooManyRequests:
		code = "Throttled"
	case http.StatusServiceUnavailable:
		code = "ServiceUnavailable"
	case http.StatusNotImplemented:
		code = "NotImplemented"
	}
	writeVaultError(w, r, f.status, code, "", f.text)
}
