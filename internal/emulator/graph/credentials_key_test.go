package graph

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

const badRequestCode = "Request_BadRequest"

func TestParseKeyInputsRefuses(t *testing.T) {
	for name, c := range map[string]struct{ body, message string }{
		"no array":             {`{}`, "keyCredentials"},
		"null":                 {`null`, "keyCredentials"},
		"element is no object": {`["a"]`, ""},
		"element is null":      {`[null]`, ""},
		"unknown member":       {`[{"value":"MII="}]`, "Invalid property 'value'."},
		"keyId no GUID":        {`[{"keyId":"x"}]`, "'keyId'"},
		"keyId number":         {`[{"keyId":1}]`, "'keyId'"},
		"key no base64":        {`[{"key":"?"}]`, "'key'"},
		"key in base64url":     {`[{"key":"-_-_"}]`, "'key'"},
		"key unpadded":         {`[{"key":"YQ"}]`, "'key'"},
		"identifier no base64": {`[{"customKeyIdentifier":"CN=a"}]`, "'customKeyIdentifier'"},
		"identifier empty":     {`[{"customKeyIdentifier":""}]`, "at most 32 bytes"},
		"identifier too long":  {`[{"customKeyIdentifier":"` + b64(make([]byte, 33)) + `"}]`, "at most 32 bytes"},
		"date without offset":  {`[{"startDateTime":"2026-11-21T12:00:00"}]`, "'startDateTime'"},
		"date only":            {`[{"endDateTime":"2026-11-21"}]`, "'endDateTime'"},
		"name no string":       {`[{"displayName":{}}]`, "'displayName'"},
		"type unknown":         {`[{"type":"X509"}]`, `"type"`},
		"usage unknown": {`[{"type":"AsymmetricX509Cert","usage":"verify"}]`,
			`The value for the property "usage" in one of your credentials is invalid. Acceptable values are Sign, Verify.`},
		"certificate for Sign": {`[{"type":"AsymmetricX509Cert","usage":"Sign"}]`, `"usage"`},
		"PKCS 12 for Verify":   {`[{"type":"X509CertAndPassword","usage":"Verify"}]`, `"usage"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseKeyInputs(json.RawMessage(c.body))
			wantRefusal(t, err, http.StatusBadRequest, badRequestCode, c.message)
		})
	}
}

// A value of a wrong type may be a private key in the wrong member.
func TestParseKeyInputsDoesNotRepeatValues(t *testing.T) {
	_, err := parseKeyInputs(json.RawMessage(`[{"key":"-----BEGIN PRIVATE KEY-----"}]`))
	if err == nil || strings.Contains(err.Message, "PRIVATE") {
		t.Errorf("refused with %v, want a text without the value", err)
	}
}

func TestKeyIsStoredAsUploaded(t *testing.T) {
	der := certificate(t, "upload")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	lines := strings.Join(strings.SplitAfter(b64(der), "A"), "\n")
	for name, key := range map[string]string{"DER": b64(der), "PEM": b64(text), "base64 in lines": lines} {
		t.Run(name, func(t *testing.T) {
			all := mustPatch(t, nil, uploaded(der, members{"key": key}))
			if len(all) != 1 || !bytes.Equal(all[0].Key, der) {
				t.Errorf("stored %+v, want the certificate", all)
			}
		})
	}
}

func TestDefaultsComeFromTheCertificate(t *testing.T) {
	der := certificate(t, "defaults")
	got := renderKeyCredentials(mustPatch(t, nil, uploaded(der, nil)), true)[0]
	want := map[string]any{
		"keyId": got["keyId"], "type": "AsymmetricX509Cert", "usage": "Verify", "displayName": "CN=defaults",
		"customKeyIdentifier": fmt.Sprintf("%X", directory.Thumbprint(der)), "key": b64(der),
		"startDateTime": "2026-11-21T12:00:00Z", "endDateTime": "2027-11-21T12:00:00Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := uuid.Validate(got["keyId"].(string)); err != nil {
		t.Errorf("keyId is %v", got["keyId"])
	}
}

func TestIdentifierComesBackAsSent(t *testing.T) {
	der := certificate(t, "identifier")
	thumbprint := directory.Thumbprint(der)
	for name, id := range map[string]string{
		"hexadecimal":       fmt.Sprintf("%X", thumbprint),
		"base64":            b64(thumbprint),
		"base64 of hex":     b64([]byte(fmt.Sprintf("%x", thumbprint))[:32]),
		"base64 of a label": b64([]byte("CN=DaemonConsoleCert")),
	} {
		t.Run(name, func(t *testing.T) {
			got := renderKeyCredentials(mustPatch(t, nil, uploaded(der, members{"customKeyIdentifier": id})), false)[0]["customKeyIdentifier"]
			if got != id {
				t.Errorf("identifier %v, want %s", got, id)
			}
		})
	}
}

func TestClientChoosesKeyIDNameAndDates(t *testing.T) {
	der := certificate(t, "chosen")
	id := "ABCDEF01-1111-4111-8111-111111111111"
	all := mustPatch(t, nil, uploaded(der, members{
		"keyId": id, "displayName": strings.Repeat("ü", 91),
		"startDateTime": "2026-11-21T14:00:00+01:00", "endDateTime": "2027-01-01T00:00:00.00000019Z",
	}))
	want := directory.KeyCredential{
		KeyID: strings.ToLower(id), DisplayName: strings.Repeat("ü", 90), CustomKeyIdentifier: all[0].CustomKeyIdentifier,
		Type: keyCertificate, Usage: usageVerify, Key: der,
		StartDateTime: noon.Add(time.Hour), EndDateTime: time.Date(2027, 1, 1, 0, 0, 0, 100, time.UTC),
	}
	if diff := cmp.Diff([]directory.KeyCredential{want}, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewKeyIsRefused(t *testing.T) {
	der := certificate(t, "refused")
	const id = "11111111-1111-4111-8111-111111111111"
	for name, c := range map[string]struct {
		key           members
		code, message string
	}{
		"end after the certificate's by a tick": {uploaded(der, members{"endDateTime": "2027-11-21T12:00:00.0000001Z"}), "KeyCredentialsInvalidEndDate", "Key credential end date is invalid."},
		"end before the start":                  {uploaded(der, members{"startDateTime": "2027-02-01T00:00:00Z", "endDateTime": "2027-01-01T00:00:00Z"}), "KeyCredentialsInvalidEndDate", ""},
		"end at the start":                      {uploaded(der, members{"endDateTime": "2026-11-21T12:00:00Z"}), "KeyCredentialsInvalidEndDate", ""},
		"start before the certificate's":        {uploaded(der, members{"startDateTime": "2026-11-21T11:59:59Z"}), "KeyCredentialsInvalidStartDate", "start date"},
		"no type":                               {uploaded(der, members{"type": nil}), badRequestCode, "type"},
		"no usage":                              {uploaded(der, members{"usage": nil}), badRequestCode, "usage"},
		"no key":                                {uploaded(der, members{"key": nil}), "KeyCredentialsInvalidValue", "key"},
		"empty key":                             {uploaded(der, members{"key": ""}), "KeyCredentialsInvalidValue", "key"},
		"unknown keyId and no key":              {uploaded(der, members{"key": nil, "keyId": id}), "KeyCredentialsInvalidValue", id},
		"no certificate":                        {uploaded([]byte("junk"), nil), badRequestCode, "Invalid certificate: Key value is invalid certificate"},
		"trailing bytes":                        {uploaded(append(bytes.Clone(der), 0), nil), badRequestCode, "Invalid certificate"},
		"PEM without certificate":               {uploaded([]byte("-----BEGIN CERTIFICATE-----\nx"), nil), badRequestCode, "Invalid certificate"},
		"PEM with a broken certificate":         {uploaded(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[1:]}), nil), badRequestCode, "Invalid certificate"},
		"only a private key":                    {uploaded(privatePEM(t), nil), badRequestCode, "Invalid certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := patch(t, nil, c.key)
			wantRefusal(t, err, http.StatusBadRequest, c.code, c.message)
		})
	}
}

func TestEndDateRefusalNamesTheMember(t *testing.T) {
	_, err := patch(t, nil, uploaded(certificate(t, "end"), members{"endDateTime": "2030-01-01T00:00:00Z"}))
	want := []errorDetail{{Code: "InvalidKeyEndDate", Target: "keyCredentials.endDateTime", Message: "Key credential end date is invalid."}}
	if diff := cmp.Diff(want, err.Details); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func privatePEM(t testing.TB) []byte {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(newEC(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pkcs12File returns a certificate and a PKCS #12 file with it and its key.
func pkcs12File(t testing.TB, name, password string) (der, file []byte) {
	t.Helper()
	key := newEC(t)
	der = issue(t, name, key, noon, nextYear, nil, nil)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = pkcs12.Modern.Encode(key, c, nil, password); err != nil {
		t.Fatal(err)
	}
	return der, file
}

func TestPrivateKeysAreForgotten(t *testing.T) {
	der := certificate(t, "pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	inFile, file := pkcs12File(t, "pfx", "")
	for name, c := range map[string]struct{ upload, want []byte }{
		"PEM, certificate first": {append(bytes.Clone(public), privatePEM(t)...), der},
		"PEM, key first":         {append(privatePEM(t), public...), der},
		"PKCS 12":                {file, inFile},
	} {
		t.Run(name, func(t *testing.T) {
			all := mustPatch(t, nil, uploaded(c.upload, nil))
			if !bytes.Equal(all[0].Key, c.want) {
				t.Errorf("stored %d bytes, want the certificate alone", len(all[0].Key))
			}
		})
	}
}

// A file that wants its password hashed a thousand million times must not keep
// the tenant busy for minutes.
func TestCostlyFileIsRefused(t *testing.T) {
	der, file := pkcs12File(t, "costly", "")
	type mac struct {
		Digest asn1.RawValue
		Salt   []byte
		Rounds int
	}
	var whole struct {
		Version  int
		AuthSafe asn1.RawValue
		Mac      mac
	}
	if _, err := asn1.Unmarshal(file, &whole); err != nil {
		t.Fatal(err)
	}
	whole.Mac.Rounds = 1_000_000_000
	costly, err := asn1.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	if publicCertificate(costly, "") != nil {
		t.Error("a file with a thousand million rounds was read")
	}

	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = pkcs12.Passwordless.Encode(newRSA(), c, nil, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(publicCertificate(file, ""), der) {
		t.Error("a file without encryption was not read")
	}
}

func TestPatchReplacesTheWholeList(t *testing.T) {
	before := mustPatch(t, nil, uploaded(certificate(t, "one"), nil), uploaded(certificate(t, "two"), nil))
	third := certificate(t, "three")
	after := mustPatch(t, before, members{"keyId": strings.ToUpper(before[1].KeyID)}, uploaded(third, nil))
	if len(after) != 2 || !bytes.Equal(after[1].Key, third) {
		t.Fatalf("got %+v, want the second and a new one", after)
	}
	if diff := cmp.Diff(before[1], after[0]); diff != "" {
		t.Errorf("the second changed (-before +after):\n%s", diff)
	}
	if none := mustPatch(t, before); len(none) != 0 {
		t.Errorf("an empty list left %+v", none)
	}
}

// Clients read, append and write the list back.
func TestWhatWasReadCanBeSentBack(t *testing.T) {
	start := members{"startDateTime": "2026-12-01T10:11:12.3456789Z", "displayName": strings.Repeat("x", 100)}
	before := mustPatch(t, nil, uploaded(certificate(t, "one"), start), uploaded(certificate(t, "two"), nil),
		members{"type": "Symmetric", "usage": "Verify", "key": b64([]byte("shared"))})
	for _, withKey := range []bool{true, false} {
		inputs, err := parseKeyInputs(asJSON(t, renderKeyCredentials(before, withKey)))
		if err != nil {
			t.Fatal(err)
		}
		after, err := replaceKeyCredentials(before, inputs, noon.AddDate(3, 0, 0))
		if err != nil {
			t.Fatalf("withKey %t: %v", withKey, err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("withKey %t (-before +after):\n%s", withKey, diff)
		}
	}
}

func TestExistingKeyCannotBeChanged(t *testing.T) {
	before := mustPatch(t, nil, uploaded(certificate(t, "old"), nil))
	id := before[0].KeyID
	for name, value := range map[string]any{
		"key": b64(certificate(t, "old")), "displayName": "", "customKeyIdentifier": b64(directory.Thumbprint(before[0].Key)),
		"type": "Symmetric", "usage": "Sign", "startDateTime": "2026-11-21T12:00:01Z", "endDateTime": "2027-11-21T11:59:59Z",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := patch(t, before, members{"keyId": id, name: value})
			wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "Update to existing credential with KeyId '"+id+"' is not allowed.")
			if len(err.Details) != 1 || err.Details[0].Code != "KeyNotUpdatable" || err.Details[0].Target != "keyCredentials" {
				t.Errorf("details %+v", err.Details)
			}
		})
	}
}

func TestCertificateIsThereOnce(t *testing.T) {
	der := certificate(t, "same")
	_, err := patch(t, nil, uploaded(der, nil), uploaded(der, nil))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "conflicting key identifiers")

	before := mustPatch(t, nil, uploaded(der, nil))
	_, err = patch(t, before, uploaded(der, nil), members{"keyId": before[0].KeyID})
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "conflicting key identifiers")

	if after := mustPatch(t, before, uploaded(der, nil)); len(after) != 1 || after[0].KeyID == before[0].KeyID {
		t.Errorf("replaced by itself it is %+v, want one with another keyId", after)
	}
}

func TestKeyIDIsThereOnce(t *testing.T) {
	before := mustPatch(t, nil, uploaded(certificate(t, "one"), nil))
	_, err := patch(t, before, members{"keyId": before[0].KeyID}, members{"keyId": before[0].KeyID})
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, before[0].KeyID)
}

func TestTooManyKeys(t *testing.T) {
	var before []directory.KeyCredential
	var wanted []keyInput
	for range maxKeyCredentials {
		k := directory.KeyCredential{KeyID: uuid.NewString(), Type: keyCertificate}
		before, wanted = append(before, k), append(wanted, keyInput{KeyID: k.KeyID})
	}
	if _, err := replaceKeyCredentials(before, wanted, noon); err != nil {
		t.Fatalf("%d keys were refused: %v", maxKeyCredentials, err)
	}
	wanted = append(wanted, keyInput{Type: keyCertificate, Usage: usageVerify, Key: certificate(t, "one more")})
	_, err := replaceKeyCredentials(before, wanted, noon)
	wantRefusal(t, err, http.StatusForbidden, "Directory_ResourceSizeExceeded", "")
}

func TestSymmetricKeyIsForgotten(t *testing.T) {
	all := mustPatch(t, nil, members{"type": "Symmetric", "usage": "Sign", "key": b64([]byte("shared"))})
	want := directory.KeyCredential{KeyID: all[0].KeyID, Type: "Symmetric", Usage: "Sign", StartDateTime: noon, EndDateTime: nextYear}
	if diff := cmp.Diff([]directory.KeyCredential{want}, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	later := mustPatch(t, nil, members{"type": "Symmetric", "usage": "Sign", "key": "AAAA", "startDateTime": "2027-01-01T00:00:00Z"})
	if !later[0].EndDateTime.Equal(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("ends %s, want a year after its start", later[0].EndDateTime)
	}
	_, err := patch(t, nil, members{"type": "Symmetric", "usage": "Sign", "key": "AAAA", "endDateTime": "2026-01-01T00:00:00Z"})
	wantRefusal(t, err, http.StatusBadRequest, "KeyCredentialsInvalidEndDate", "")
	_, err = patch(t, all, members{"keyId": all[0].KeyID, "key": b64([]byte("shared"))})
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "Update to existing credential")
}

func TestAddKey(t *testing.T) {
	before := mustPatch(t, nil, uploaded(certificate(t, "one"), nil), uploaded(certificate(t, "two"), nil))
	der := certificate(t, "three")
	in, err := parseAddKey(asJSON(t, members{"keyCredential": uploaded(der, nil), "passwordCredential": nil, "proof": "a.b.c"}))
	if err != nil {
		t.Fatal(err)
	}
	all, added, err := addKeyCredential(before, in.Key, noon)
	if err != nil {
		t.Fatal(err)
	}
	if in.Proof != "a.b.c" || !bytes.Equal(added.Key, der) {
		t.Errorf("added %+v with proof %q", added, in.Proof)
	}
	if diff := cmp.Diff(append(before, added), all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	in.Key.KeyID = before[0].KeyID
	_, _, err = addKeyCredential(before, in.Key, noon)
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "Update to existing credential")
	_, _, err = addKeyCredential(all, keyInput{Type: keyCertificate, Usage: usageVerify, Key: der}, noon)
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "conflicting")
}

func TestTokenSigningKeyNeedsItsPassword(t *testing.T) {
	der, file := pkcs12File(t, "signing", "open sesame")
	signing := members{"type": "X509CertAndPassword", "usage": "Sign", "key": b64(file)}
	body := func(password any) json.RawMessage {
		return asJSON(t, members{"keyCredential": signing, "passwordCredential": password, "proof": "p"})
	}
	in, err := parseAddKey(body(members{"secretText": "open sesame"}))
	if err != nil {
		t.Fatal(err)
	}
	all, added, err := addKeyCredential(nil, in.Key, noon)
	if err != nil || !bytes.Equal(added.Key, der) || added.Type != "X509CertAndPassword" || added.Usage != "Sign" {
		t.Fatalf("added %+v, %v; want the certificate alone", added, err)
	}
	if kept := mustPatch(t, all, members{"keyId": added.KeyID}); len(kept) != 1 {
		t.Errorf("a PATCH that repeats it kept %+v", kept)
	}
	if both := mustPatch(t, all, members{"keyId": added.KeyID}, uploaded(der, nil)); len(both) != 2 {
		t.Errorf("beside the certificate for verifying there is %+v", both)
	}

	_, err = parseAddKey(body(nil))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "passwordCredential")
	_, err = parseAddKey(body(members{"displayName": "x"}))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "passwordCredential")
	in, err = parseAddKey(body(members{"secretText": "wrong"}))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = addKeyCredential(nil, in.Key, noon)
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "Invalid certificate")
	_, err = patch(t, nil, signing)
	wantRefusal(t, err, http.StatusNotImplemented, "notImplemented", "X509CertAndPassword")
}

func TestParseAddKeyRefuses(t *testing.T) {
	der := certificate(t, "add")
	for name, c := range map[string]struct {
		body    members
		message string
	}{
		"no key":                     {members{"proof": "p"}, "'keyCredential'"},
		"no proof":                   {members{"keyCredential": uploaded(der, nil)}, "'proof'"},
		"proof no string":            {members{"keyCredential": uploaded(der, nil), "proof": 1}, "'proof'"},
		"unknown member":             {members{"keyCredential": uploaded(der, nil), "proof": "p", "x": 1}, "'x'"},
		"unknown member of the key":  {members{"keyCredential": members{"x": 1}, "proof": "p"}, "'x'"},
		"unknown member of password": {members{"keyCredential": uploaded(der, nil), "passwordCredential": members{"x": 1}, "proof": "p"}, "'x'"},
		"password for a certificate": {members{"keyCredential": uploaded(der, nil), "passwordCredential": members{"secretText": "s"}, "proof": "p"}, "must be null"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseAddKey(asJSON(t, c.body))
			wantRefusal(t, err, http.StatusBadRequest, badRequestCode, c.message)
		})
	}
}

func TestRemoveKey(t *testing.T) {
	before := mustPatch(t, nil, uploaded(certificate(t, "one"), nil))
	keyID, proof, err := parseRemoveKey(asJSON(t, members{"keyId": strings.ToUpper(before[0].KeyID), "proof": "p"}))
	if err != nil || keyID != before[0].KeyID || proof != "p" {
		t.Fatalf("got %s, %s, %v", keyID, proof, err)
	}
	if left, err := removeKeyCredential(before, keyID); err != nil || len(left) != 0 || len(before) != 1 {
		t.Errorf("left %+v of %+v, %v", left, before, err)
	}
	_, err = removeKeyCredential(nil, keyID)
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, keyID)
	for _, body := range []string{`{}`, `{"keyId":"` + keyID + `"}`, `{"proof":"p"}`, `{"keyId":"x","proof":"p"}`, `{"keyId":"` + keyID + `","proof":"p","x":1}`, `[]`, ``} {
		if _, _, err := parseRemoveKey(json.RawMessage(body)); err == nil {
			t.Errorf("accepted %s", body)
		}
	}
}
