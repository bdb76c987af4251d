package graph

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// passwordInput is a passwordCredential as a client wrote it. What is nil or ""
// was null or not there.
type passwordInput struct {
	KeyID                     string
	DisplayName, Hint, Secret *string
	CustomKeyIdentifier       []byte
	Start, End                *time.Time
}

func parsePasswordInput(raw json.RawMessage) (passwordInput, *graphError) {
	in := readInput(raw,
		"customKeyIdentifier", "displayName", "endDateTime", "hint", "keyId", "secretText", "startDateTime")
	p := passwordInput{
		KeyID: in.guid("keyId"), DisplayName: in.text("displayName"), Hint: in.text("hint"), Secret: in.text("secretText"),
		CustomKeyIdentifier: in.binary("customKeyIdentifier"), Start: in.date("startDateTime"), End: in.date("endDateTime"),
	}
	return p, in.refused
}

// replacePasswordCredentials returns the passwordCredentials of an object after
// a PATCH: those that raw repeats by keyId, unchanged, and none besides. Client
// secrets are made by addPassword alone.
func replacePasswordCredentials(current []directory.PasswordCredential, raw json.RawMessage) ([]directory.PasswordCredential, *graphError) {
	wanted, err := readInputs("passwordCredentials", raw, parsePasswordInput)
	if err != nil {
		return nil, err
	}
	all := []directory.PasswordCredential{}
	seen := map[string]bool{}
	for _, w := range wanted {
		i := slices.IndexFunc(current, func(p directory.PasswordCredential) bool { return strings.EqualFold(p.KeyID, w.KeyID) })
		switch {
		case i < 0:
			return nil, badRequest("New password credentials must be generated using service actions.")
		case seen[w.KeyID]:
			return nil, badRequest("The key identifier '%s' is given more than once.", w.KeyID) // [K]
		case !w.repeats(current[i]):
			return nil, notUpdatable(current[i].KeyID, "passwordCredentials")
		}
		seen[w.KeyID] = true
		all = append(all, current[i])
	}
	return all, nil
}

// repeats reports whether nothing that w says differs from p. To say the secret
// is to set it anew, even to what it is.
func (w passwordInput) repeats(p directory.PasswordCredential) bool {
	return w.Secret == nil && same(w.Hint, p.Hint) && (w.DisplayName == nil || p.DisplayName != nil && *w.DisplayName == *p.DisplayName) &&
		sameTime(w.Start, p.StartDateTime) && sameTime(w.End, p.EndDateTime) &&
		(w.CustomKeyIdentifier == nil || bytes.Equal(w.CustomKeyIdentifier, p.CustomKeyIdentifier))
}

// newPassword makes the client secret that the body of addPassword asks for. It
// starts now and lasts two years by default; Graph sets no limit. The secret
// itself is only in secretText.
func newPassword(raw json.RawMessage, now time.Time) (_ directory.PasswordCredential, secretText string, _ *graphError) {
	none := directory.PasswordCredential{}
	var w passwordInput
	if len(raw) > 0 {
		in := readInput(raw, "passwordCredential")
		if in.refused != nil {
			return none, "", in.refused
		}
		if in.has("passwordCredential") {
			var err *graphError
			if w, err = parsePasswordInput(in.members["passwordCredential"]); err != nil {
				return none, "", err
			}
		}
	}
	if w.KeyID != "" || w.Hint != nil || w.Secret != nil || w.CustomKeyIdentifier != nil {
		return none, "", badRequest("Of a new password credential, only displayName, startDateTime and endDateTime can be set.") // [K]
	}
	secretText = newSecret()
	p := directory.PasswordCredential{
		KeyID: uuid.NewString(), DisplayName: w.DisplayName, Hint: secretText[:3],
		StartDateTime: now.UTC().Truncate(tick), Hash: sha256.Sum256([]byte(secretText)),
	}
	if w.Start != nil {
		p.StartDateTime = w.Start.Truncate(tick)
	}
	p.EndDateTime = p.StartDateTime.AddDate(2, 0, 0)
	if w.End != nil {
		p.EndDateTime = w.End.Truncate(tick)
	}
	if !p.EndDateTime.After(p.StartDateTime) || p.EndDateTime.Year() > lastYear {
		err := badRequest("Password credential end date is invalid.") // [K]
		err.Details = []errorDetail{{Code: "InvalidEndDate", Target: "passwordCredentials.endDateTime", Message: err.Message}}
		return none, "", err
	}
	return p, secretText, nil
}

// newSecret returns 40 characters at random. Microsoft documents 16 to 64, and
// letters, digits and punctuation among them.
func newSecret() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789~_"
	secret := make([]byte, 40)
	rand.Read(secret) // crypto/rand never fails.
	for i, b := range secret {
		secret[i] = alphabet[b%64] // 64 divides 256, so all are equally likely.
	}
	return string(secret)
}

// parseRemovePassword reads the body of removePassword.
func parseRemovePassword(raw json.RawMessage) (keyID string, _ *graphError) {
	in := readInput(raw, "keyId")
	if keyID = in.guid("keyId"); keyID == "" {
		in.refuse("The parameter 'keyId' is required.")
	}
	return keyID, in.refused
}

// removePasswordCredential returns the passwordCredentials after
// removePassword. Clients look for the beginning of the refusal
// (github.com/hashicorp/vault-plugin-secrets-azure).
func removePasswordCredential(current []directory.PasswordCredential, keyID string) ([]directory.PasswordCredential, *graphError) {
	left := slices.DeleteFunc(slices.Clone(current), func(p directory.PasswordCredential) bool { return strings.EqualFold(p.KeyID, keyID) })
	if len(left) == len(current) {
		return nil, badRequest("No password credential found with keyId.")
	}
	return left, nil
}
