package keyvault

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// operation is one of the vault's, with what it takes to be allowed.
type operation struct {
	origin.Operation
	method     string
	pattern    []string // the path; {name} and {version} match anything, {version?} may be missing
	permission string   // of access policies, such as certificates/get
	action     string   // of roles, without Microsoft.KeyVault/vaults/
	query      string   // the options besides api-version, with spaces between
	cost       int      // see charge
	handle     func(*call) (answer, error)
}

// op describes an operation. The address of its documentation follows from its
// group and its name.
func op(name, request, permission, action string, handle func(*call) (answer, error), query ...string) operation {
	method, path, _ := strings.Cut(request, " ")
	o := operation{
		method: method, pattern: strings.Split(strings.TrimPrefix(path, "/"), "/"),
		permission: permission, action: action, query: strings.Join(query, " "), handle: handle, cost: costTransaction,
	}
	group, _, _ := strings.Cut(permission, "/")
	page := kebab(name)
	o.Operation = origin.Operation{
		Name: name, Request: strings.ReplaceAll(request, "?", ""),
		Source: "https://learn.microsoft.com/rest/api/keyvault/" + group + "/" + page + "/" + page,
	}
	switch name {
	case "createKey", "rotateKey":
		o.cost = costKeyCreate
	case "setSecret":
		o.cost = costSecretCreate
	}
	return o
}

// kebab writes createCertificate as create-certificate.
func kebab(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// pool is what the operation is counted with.
func (o *operation) pool() string {
	switch {
	case o.Name == "createKey" || o.Name == "rotateKey":
		return "key creation"
	case o.Name == "setSecret":
		return "secret creation"
	case strings.HasPrefix(o.permission, "keys/"):
		return "keys"
	}
	return "secrets and certificates"
}

const (
	paged   = "maxresults $skiptoken"
	partial = "includePending"
)

// operations are all that is emulated. The first that matches is meant, so that
// fixed words come before names. It is filled by init because the handlers lead
// back to it.
var operations []operation

func init() {
	operations = slices.Concat(certificateOperations(), secretOperations(), keyOperations())
}

func certificateOperations() []operation {
	const one, pending, gone = "/certificates/{name}", "/certificates/{name}/pending", "/deletedcertificates/{name}"
	return []operation{
		op("getCertificates", "GET /certificates", "certificates/list", "certificates/read", listCertificates, paged, partial),
		op("getCertificateIssuers", "GET /certificates/issuers", "certificates/listissuers", "certificatecas/read", listIssuers, paged),
		op("getCertificateContacts", "GET /certificates/contacts", "certificates/managecontacts", "certificatecontacts/write", getContacts),
		op("setCertificateContacts", "PUT /certificates/contacts", "certificates/managecontacts", "certificatecontacts/write", setContacts),
		op("deleteCertificateContacts", "DELETE /certificates/contacts", "certificates/managecontacts", "certificatecontacts/write", deleteContacts),
		op("getCertificateIssuer", "GET /certificates/issuers/{name}", "certificates/getissuers", "certificatecas/read", getIssuer),
		op("setCertificateIssuer", "PUT /certificates/issuers/{name}", "certificates/setissuers", "certificatecas/write", setIssuer),
		op("updateCertificateIssuer", "PATCH /certificates/issuers/{name}", "certificates/setissuers", "certificatecas/write", updateIssuer),
		op("deleteCertificateIssuer", "DELETE /certificates/issuers/{name}", "certificates/deleteissuers", "certificatecas/delete", deleteIssuer),
		op("restoreCertificate", "POST /certificates/restore", "certificates/restore", "certificates/restore/action", restoreCertificate),

		op("createCertificate", "POST "+one+"/create", "certificates/create", "certificates/create/action", createCertificate),
		op("importCertificate", "POST "+one+"/import", "certificates/import", "certificates/import/action", importCertificate),
		op("backupCertificate", "POST "+one+"/backup", "certificates/backup", "certificates/backup/action", backupOf(certificateKind)),
		op("getCertificateVersions", "GET "+one+"/versions", "certificates/list", "certificates/read", listCertificateVersions, paged),
		op("getCertificatePolicy", "GET "+one+"/policy", "certificates/get", "certificates/read", getPolicy),
		op("updateCertificatePolicy", "PATCH "+one+"/policy", "certificates/update", "certificates/update/action", updatePolicy),
		op("getCertificateOperation", "GET "+pending, "certificates/get", "certificates/read", getOperation, "request_id"),
		op("updateCertificateOperation", "PATCH "+pending, "certificates/update", "certificates/update/action", updateOperation),
		op("deleteCertificateOperation", "DELETE "+pending, "certificates/update", "certificates/update/action", deleteOperation),
		op("mergeCertificate", "POST "+pending+"/merge", "certificates/create", "certificates/create/action", mergeCertificate),
		op("getCertificate", "GET "+one+"/{version?}", "certificates/get", "certificates/read", getCertificate),
		op("updateCertificate", "PATCH "+one+"/{version?}", "certificates/update", "certificates/update/action", updateCertificate),
		op("deleteCertificate", "DELETE "+one, "certificates/delete", "certificates/delete", deleteCertificate),

		op("getDeletedCertificates", "GET /deletedcertificates", "certificates/list", "certificates/read", listDeletedCertificates, paged, partial),
		op("getDeletedCertificate", "GET "+gone, "certificates/get", "certificates/read", getDeletedCertificate),
		op("recoverDeletedCertificate", "POST "+gone+"/recover", "certificates/recover", "certificates/recover/action", recoverCertificate),
		op("purgeDeletedCertificate", "DELETE "+gone, "certificates/purge", "certificates/purge/action", purgeOf(certificateKind)),
	}
}

func secretOperations() []operation {
	const one, gone = "/secrets/{name}", "/deletedsecrets/{name}"
	return []operation{
		op("getSecrets", "GET /secrets", "secrets/list", "secrets/readMetadata/action", listSecrets, paged),
		op("restoreSecret", "POST /secrets/restore", "secrets/restore", "secrets/restore/action", restoreSecret),
		op("backupSecret", "POST "+one+"/backup", "secrets/backup", "secrets/backup/action", backupOf(secretKind)),
		op("getSecretVersions", "GET "+one+"/versions", "secrets/list", "secrets/readMetadata/action", listSecretVersions, paged),
		op("getSecret", "GET "+one+"/{version?}", "secrets/get", "secrets/getSecret/action", getSecret, "outContentType"),
		op("setSecret", "PUT "+one, "secrets/set", "secrets/setSecret/action", setSecret),
		op("updateSecret", "PATCH "+one+"/{version?}", "secrets/set", "secrets/update/action", updateSecret),
		op("deleteSecret", "DELETE "+one, "secrets/delete", "secrets/delete", deleteSecret),
		op("getDeletedSecrets", "GET /deletedsecrets", "secrets/list", "secrets/readMetadata/action", listDeletedSecrets, paged),
		op("getDeletedSecret", "GET "+gone, "secrets/get", "secrets/readMetadata/action", getDeletedSecret),
		op("recoverDeletedSecret", "POST "+gone+"/recover", "secrets/recover", "secrets/recover/action", recoverSecret),
		op("purgeDeletedSecret", "DELETE "+gone, "secrets/purge", "secrets/purge/action", purgeOf(secretKind)),
	}
}

func keyOperations() []operation {
	const one, version, gone = "/keys/{name}", "/keys/{name}/{version?}", "/deletedkeys/{name}"
	return []operation{
		op("getKeys", "GET /keys", "keys/list", "keys/read", listKeys, paged),
		op("restoreKey", "POST /keys/restore", "keys/restore", "keys/restore/action", restoreKey),
		// Which permission the random bytes of a vault take is [K].
		op("getRandomBytes", "POST /rng", "keys/get", "keys/read", randomBytes),
		op("createKey", "POST "+one+"/create", "keys/create", "keys/create/action", createKey),
		op("rotateKey", "POST "+one+"/rotate", "keys/rotate", "keys/rotate/action", rotateKey),
		op("backupKey", "POST "+one+"/backup", "keys/backup", "keys/backup/action", backupOf(keyKind)),
		op("getKeyVersions", "GET "+one+"/versions", "keys/list", "keys/read", listKeyVersions, paged),
		op("getKeyRotationPolicy", "GET "+one+"/rotationpolicy", "keys/getrotationpolicy", "keyrotationpolicies/read", getRotation),
		op("updateKeyRotationPolicy", "PUT "+one+"/rotationpolicy", "keys/setrotationpolicy", "keyrotationpolicies/write", setRotation),
		op("sign", "POST "+version+"/sign", "keys/sign", "keys/sign/action", signWithKey),
		op("verify", "POST "+version+"/verify", "keys/verify", "keys/verify/action", verifyWithKey),
		op("encrypt", "POST "+version+"/encrypt", "keys/encrypt", "keys/encrypt/action", transformWithKey("encrypt", encrypt)),
		op("decrypt", "POST "+version+"/decrypt", "keys/decrypt", "keys/decrypt/action", transformWithKey("decrypt", decrypt)),
		op("wrapKey", "POST "+version+"/wrapkey", "keys/wrapKey", "keys/wrap/action", transformWithKey("wrapKey", encrypt)),
		op("unwrapKey", "POST "+version+"/unwrapkey", "keys/unwrapKey", "keys/unwrap/action", transformWithKey("unwrapKey", decrypt)),
		op("getKey", "GET "+version, "keys/get", "keys/read", getKey),
		op("updateKey", "PATCH "+version, "keys/update", "keys/update/action", updateKey),
		op("importKey", "PUT "+one, "keys/import", "keys/import/action", importKey),
		op("deleteKey", "DELETE "+one, "keys/delete", "keys/delete", deleteKey),
		op("getDeletedKeys", "GET /deletedkeys", "keys/list", "keys/read", listDeletedKeys, paged),
		op("getDeletedKey", "GET "+gone, "keys/get", "keys/read", getDeletedKey),
		op("recoverDeletedKey", "POST "+gone+"/recover", "keys/recover", "keys/recover/action", recoverKey),
		op("purgeDeletedKey", "DELETE "+gone, "keys/purge", "keys/purge/action", purgeOf(keyKind)),
	}
}

// find returns the operation of a request, and the name and the version that
// it is about; nil for what is not emulated, options included.
func find(r *http.Request) (o *operation, name, version string) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for i := range operations {
		o := &operations[i]
		if o.method != r.Method {
			continue
		}
		name, version, ok := o.match(parts)
		if !ok {
			continue
		}
		for option := range r.URL.Query() {
			if option != "api-version" && !slices.Contains(strings.Fields(o.query), option) {
				return nil, "", ""
			}
		}
		return o, name, version
	}
	return nil, "", ""
}

// match matches a path. The SDKs ask for the newest version by a slash at the
// end, or by leaving the version out.
func (o *operation) match(parts []string) (name, version string, ok bool) {
	pattern := o.pattern
	if optional := slices.Index(pattern, "{version?}"); optional >= 0 && len(parts) == len(pattern)-1 {
		pattern = slices.Delete(slices.Clone(pattern), optional, optional+1)
	}
	if len(parts) != len(pattern) {
		return "", "", false
	}
	for i, want := range pattern {
		switch want {
		case "{name}":
			if name = parts[i]; name == "" {
				return "", "", false
			}
		case "{version?}":
			version = parts[i]
		default:
			if !strings.EqualFold(want, parts[i]) {
				return "", "", false
			}
		}
	}
	return name, version, true
}
