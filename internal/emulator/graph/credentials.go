package graph

import (
	"encoding/base64"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// renderKeyCredentials returns the wire form of key credentials. Graph gives
// the certificates back, withKey, only for $select=keyCredentials on a single
// object, and otherwise null.
func renderKeyCredentials(keys []directory.KeyCredential, withKey bool) []map[string]any {
	all := []map[string]any{}
	for _, k := range keys {
		all = append(all, renderKeyCredential(k, withKey))
	}
	return all
}

func renderKeyCredential(k directory.KeyCredential, withKey bool) map[string]any {
	one := map[string]any{
		"keyId": k.KeyID, "displayName": k.DisplayName, "type": k.Type, "usage": k.Usage,
		"customKeyIdentifier": edmBinary(k.CustomKeyIdentifier), "key": nil,
		"startDateTime": edmTime(k.StartDateTime), "endDateTime": edmTime(k.EndDateTime),
	}
	if withKey {
		one["key"] = edmBinary(k.Key)
	}
	return one
}

// renderPasswordCredentials returns the wire form of client secrets, which
// never contains the secrets themselves.
func renderPasswordCredentials(passwords []directory.PasswordCredential) []map[string]any {
	all := []map[string]any{}
	for _, p := range passwords {
		all = append(all, renderPasswordCredential(p, ""))
	}
	return all
}

// renderPasswordCredential gives the secret as well when it is not "", which is
// for the answer of addPassword alone.
func renderPasswordCredential(p directory.PasswordCredential, secretText string) map[string]any {
	one := map[string]any{
		"keyId": p.KeyID, "displayName": p.DisplayName, "hint": p.Hint, "secretText": nil,
		"customKeyIdentifier": edmBinary(p.CustomKeyIdentifier),
		"startDateTime":       edmTime(p.StartDateTime), "endDateTime": edmTime(p.EndDateTime),
	}
	if secretText != "" {
		one["secretText"] = secretText
	}
	return one
}

// edmBinary is an Edm.Binary, where nothing is null.
func edmBinary(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return base64.StdEncoding.EncodeToString(b)
}

// tick is the unit in which Graph keeps time, as .NET does.
const tick = 100 * time.Nanosecond

// edmTime is an Edm.DateTimeOffset, with as many decimals as it needs.
func edmTime(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.9999999Z")
}
