package graph

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// Types and usages of key credentials.
const (
	keyCertificate = "AsymmetricX509Cert"  // with usageVerify: for signing in
	keyPKCS12      = "X509CertAndPassword" // with usageSign: for signing tokens
	keySymmetric   = "Symmetric"           // with either usage
	usageVerify    = "Verify"
	usageSign      = "Sign"
)

// maxKeyCredentials is how many an object holds. Microsoft documents about
// 1,000 to 1,200 items over all lists of an application; applications were seen
// to be full with about 600 certificates
// (github.com/microsoftgraph/microsoft-graph-docs/issues/21469).
const maxKeyCredentials = 600

// keyInput is a keyCredential as a client wrote it. What is nil or "" was null
// or not there.
type keyInput struct {
	KeyID, Type, Usage  string
	DisplayName         *string
	CustomKeyIdentifier []byte
	Start, End          *time.Time
	Key                 []byte // as uploaded
	Password            string // of the PKCS #12 file in Key
}

// parseKeyInputs reads the keyCredentials of the body of a create or a PATCH.
// It checks each by itself; replaceKeyCredentials checks them together.
func parseKeyInputs(raw json.RawMessage) ([]keyInput, *graphError) {
	return readInputs("keyCredentials", raw, parseKeyInput)
}

// parseKeyInput reads one keyCredential.
//
// A customKeyIdentifier is binary, and so base64 on the wire. The 40 hexadecimal
// digits of a thumbprint, which Microsoft's how-to sends, are base64 too: of 30
// bytes, which come back as the same digits. Base64 of the 20 bytes of the
// thumbprint, which other tools send, is another identifier.
func parseKeyInput(raw json.RawMessage) (keyInput, *graphError) {
	in := readInput(raw,
		"customKeyIdentifier", "displayName", "endDateTime", "key", "keyId", "startDateTime", "type", "usage")
	k := keyInput{
		KeyID: in.guid("keyId"), DisplayName: shortened(in.text("displayName")),
		CustomKeyIdentifier: in.binary("customKeyIdentifier"), Key: in.binary("key"),
		Start: in.date("startDateTime"), End: in.date("endDateTime"),
	}
	if t := in.text("type"); t != nil {
		k.Type = *t
	}
	if u := in.text("usage"); u != nil {
		k.Usage = *u
	}
	if in.refused != nil {
		return keyInput{}, in.refused
	}
	if n := len(k.CustomKeyIdentifier); in.has("customKeyIdentifier") && (n == 0 || n > 32) {
		return keyInput{}, badRequest("When present, application key identifier cannot be empty and can be at most 32 bytes.")
	}
	return k, k.checkKind()
}

// shortened cuts a name to 90 characters, which Microsoft documents for
// keyCredential.
func shortened(name *string) *string {
	if name == nil {
		return nil
	}
	if r := []rune(*name); len(r) > 90 {
		s := string(r[:90])
		return &s
	}
	return name
}

// checkKind checks type and usage as far as they are given.
func (k keyInput) checkKind() *graphError {
	usages := map[string][]string{
		"":             {usageVerify, usageSign},
		keyCertificate: {usageVerify},
		keyPKCS12:      {usageSign},
		keySymmetric:   {usageVerify, usageSign},
	}
	if k.Usage != "" && k.Usage != usageVerify && k.Usage != usageSign {
		return badRequest(`The value for the property "usage" in one of your credentials is invalid. Acceptable values are Sign, Verify.`)
	}
	allowed, known := usages[k.Type]
	if !known {
		return badRequest(`The value for the property "type" in one of your credentials is invalid. Acceptable values are AsymmetricX509Cert, X509CertAndPassword, Symmetric.`) // [K]
	}
	if k.Usage != "" && !slices.Contains(allowed, k.Usage) {
		return badRequest(`The value for the property "usage" in one of your credentials does not go with its type: %s is for %s.`, k.Type, strings.Join(allowed, " and ")) // [K]
	}
	return nil
}

// replaceKeyCredentials returns the keyCredentials of an object after a PATCH:
// those wanted, in their order, and none besides. One that repeats a keyId stays
// as it is; it may leave out what it likes, the certificate too, but what it
// says must be what is there. All others are new.
func replaceKeyCredentials(current []directory.KeyCredential, wanted []keyInput, now time.Time) ([]directory.KeyCredential, *graphError) {
	if len(wanted) > maxKeyCredentials {
		return nil, refusal(http.StatusForbidden, "Directory_ResourceSizeExceeded", "The object would be larger than an object may be.")
	}
	all, added := []directory.KeyCredential{}, []int{}
	seen := map[string]bool{}
	for _, w := range wanted {
		if seen[w.KeyID] && w.KeyID != "" {
			return nil, badRequest("The key identifier '%s' is given more than once.", w.KeyID) // [K]
		}
		seen[w.KeyID] = true
		i := slices.IndexFunc(current, func(k directory.KeyCredential) bool { return strings.EqualFold(k.KeyID, w.KeyID) })
		if i >= 0 {
			if !w.repeats(current[i]) {
				return nil, notUpdatable(current[i].KeyID, "keyCredentials")
			}
			all = append(all, current[i])
			continue
		}
		k, err := newKeyCredential(w, now)
		if err != nil {
			return nil, err
		}
		added = append(added, len(all))
		all = append(all, k)
	}
	for _, i := range added {
		if err := checkUnique(all, i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// repeats reports whether nothing that w says differs from k.
func (w keyInput) repeats(k directory.KeyCredential) bool {
	certificate := w.Key
	if k.Type != keySymmetric && w.Key != nil {
		certificate = publicCertificate(w.Key, w.Password)
	}
	return same(w.DisplayName, k.DisplayName) && sameTime(w.Start, k.StartDateTime) && sameTime(w.End, k.EndDateTime) &&
		(w.Type == "" || w.Type == k.Type) && (w.Usage == "" || w.Usage == k.Usage) &&
		(w.CustomKeyIdentifier == nil || bytes.Equal(w.CustomKeyIdentifier, k.CustomKeyIdentifier)) &&
		(w.Key == nil || bytes.Equal(certificate, k.Key))
}

func same(given *string, s string) bool { return given == nil || *given == s }

func sameTime(given *time.Time, t time.Time) bool {
	return given == nil || given.Truncate(tick).Equal(t.Truncate(tick))
}

// notUpdatable refuses to change a credential that exists; property is the list
// that it is in.
func notUpdatable(keyID, property string) *graphError {
	err := badRequest("Update to existing credential with KeyId '%s' is not allowed.", keyID)
	err.Details = []errorDetail{{Code: "KeyNotUpdatable", Target: property, Message: err.Message}}
	return err
}

// newKeyCredential makes what Graph stores for a key that it does not know.
func newKeyCredential(w keyInput, now time.Time) (directory.KeyCredential, *graphError) {
	none := directory.KeyCredential{}
	switch {
	case w.Type == "" || w.Usage == "":
		return none, badRequest("A new key credential needs both type and usage.") // [K]
	case len(w.Key) == 0 && w.KeyID != "":
		return none, keyError("KeyCredentialsInvalidValue", "There is no key credential with KeyId '"+w.KeyID+"', and the new one has no key.", "key") // [K]: the text
	case len(w.Key) == 0:
		return none, keyError("KeyCredentialsInvalidValue", "A new key credential needs a key.", "key")
	case w.Type == keyPKCS12 && w.Password == "":
		return none, notEmulated("token signing keys, of type X509CertAndPassword, but by addKey")
	}
	if w.KeyID == "" {
		w.KeyID = uuid.NewString()
	}
	if w.Type == keySymmetric {
		return newSymmetricKey(w, now)
	}
	der := publicCertificate(w.Key, w.Password)
	if der == nil {
		return none, badRequest("Invalid certificate: Key value is invalid certificate.")
	}
	k, err := directory.NewKeyCredential(w.KeyID, der, time.Time{}, time.Time{})
	if err != nil {
		return none, badRequest("Invalid certificate: Key value is invalid certificate.")
	}
	from, until := k.StartDateTime, k.EndDateTime
	k.Type, k.Usage = w.Type, w.Usage
	if err := w.describe(&k); err != nil {
		return none, err
	}
	if k.StartDateTime.Before(from) {
		return none, keyError("KeyCredentialsInvalidStartDate", "Key credential start date is invalid.", "startDateTime") // [K]
	}
	if k.EndDateTime.After(until) {
		return none, invalidEnd()
	}
	return k, nil
}

// newSymmetricKey makes a key credential whose key is forgotten: nothing here
// signs or verifies with it, and Graph does not give it back. It lasts a year by
// default.
func newSymmetricKey(w keyInput, now time.Time) (directory.KeyCredential, *graphError) {
	now = now.UTC().Truncate(tick)
	k := directory.KeyCredential{
		KeyID: w.KeyID, Type: w.Type, Usage: w.Usage,
		StartDateTime: now, EndDateTime: now.AddDate(1, 0, 0), // [K]
	}
	if w.Start != nil {
		k.EndDateTime = w.Start.AddDate(1, 0, 0)
	}
	return k, w.describe(&k)
}

// describe puts what the client says about a key over the defaults.
func (w keyInput) describe(k *directory.KeyCredential) *graphError {
	if w.DisplayName != nil {
		k.DisplayName = *w.DisplayName
	}
	k.DisplayName = *shortened(&k.DisplayName)
	if w.CustomKeyIdentifier != nil {
		k.CustomKeyIdentifier = slices.Clone(w.CustomKeyIdentifier)
	}
	if w.Start != nil {
		k.StartDateTime = w.Start.Truncate(tick)
	}
	if w.End != nil {
		k.EndDateTime = w.End.Truncate(tick)
	}
	if !k.EndDateTime.After(k.StartDateTime) || k.EndDateTime.Year() > lastYear {
		return invalidEnd()
	}
	return nil
}

func invalidEnd() *graphError {
	err := keyError("KeyCredentialsInvalidEndDate", "Key credential end date is invalid.", "endDateTime")
	err.Details[0].Code = "InvalidKeyEndDate"
	return err
}

// keyError is a refusal that names a member of a keyCredential.
func keyError(code, message, member string) *graphError {
	err := refusal(http.StatusBadRequest, code, "%s", message)
	err.Details = []errorDetail{{Code: code, Target: "keyCredentials." + member, Message: message}}
	return err
}

// checkUnique refuses the new credential all[i] when another of its type has
// the same certificate. [K]
func checkUnique(all []directory.KeyCredential, i int) *graphError {
	for j, k := range all {
		if j != i && k.Type == all[i].Type && k.Type != keySymmetric && bytes.Equal(k.Key, all[i].Key) {
			return badRequest("The key credentials '%s' and '%s' have conflicting key identifiers: their certificate is the same.", k.KeyID, all[i].KeyID)
		}
	}
	return nil
}

// addKeyInput is the body of addKey.
type addKeyInput struct {
	Key   keyInput
	Proof string
}

// parseAddKey reads the body of addKey: keyCredential, proof, and a
// passwordCredential with the password of the PKCS #12 file, which keys of type
// X509CertAndPassword need and no others may have.
func parseAddKey(raw json.RawMessage) (addKeyInput, *graphError) {
	in := readInput(raw, "keyCredential", "passwordCredential", "proof")
	if in.refused == nil && !in.has("keyCredential") {
		in.refuse("The parameter 'keyCredential' is required.")
	}
	proof := in.text("proof")
	if proof == nil {
		in.refuse("The parameter 'proof' is required.")
	}
	if in.refused != nil {
		return addKeyInput{}, in.refused
	}
	key, err := parseKeyInput(in.members["keyCredential"])
	if err != nil {
		return addKeyInput{}, err
	}
	if in.has("passwordCredential") {
		p, err := parsePasswordInput(in.members["passwordCredential"])
		if err != nil {
			return addKeyInput{}, err
		}
		if p.Secret != nil {
			key.Password = *p.Secret
		}
	}
	if (key.Type == keyPKCS12) != (key.Password != "") {
		return addKeyInput{}, badRequest("A passwordCredential with a secretText is needed for keys of type X509CertAndPassword, and must be null for others.")
	}
	return addKeyInput{Key: key, Proof: *proof}, nil
}

// addKeyCredential returns the keyCredentials after addKey, and the new one.
func addKeyCredential(current []directory.KeyCredential, wanted keyInput, now time.Time) (all []directory.KeyCredential, added directory.KeyCredential, _ *graphError) {
	inputs := []keyInput{}
	for _, k := range current {
		if strings.EqualFold(k.KeyID, wanted.KeyID) {
			return nil, added, notUpdatable(k.KeyID, "keyCredentials")
		}
		inputs = append(inputs, keyInput{KeyID: strings.ToLower(k.KeyID)})
	}
	all, err := replaceKeyCredentials(current, append(inputs, wanted), now)
	if err != nil {
		return nil, added, err
	}
	return all, all[len(all)-1], nil
}

// parseRemoveKey reads the body of removeKey.
func parseRemoveKey(raw json.RawMessage) (keyID, proof string, _ *graphError) {
	in := readInput(raw, "keyId", "proof")
	keyID, given := in.guid("keyId"), in.text("proof")
	if keyID == "" {
		in.refuse("The parameter 'keyId' is required.")
	}
	if given == nil {
		in.refuse("The parameter 'proof' is required.")
	}
	if in.refused != nil {
		return "", "", in.refused
	}
	return keyID, *given, nil
}

// removeKeyCredential returns the keyCredentials after removeKey. Nothing
// documents that the last one cannot be removed.
func removeKeyCredential(current []directory.KeyCredential, keyID string) ([]directory.KeyCredential, *graphError) {
	left := slices.DeleteFunc(slices.Clone(current), func(k directory.KeyCredential) bool { return strings.EqualFold(k.KeyID, keyID) })
	if len(left) == len(current) {
		return nil, badRequest("No key credential found with keyId '%s'.", keyID) // [K]
	}
	return left, nil
}
