package keyvault_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

func TestSecrets(t *testing.T) {
	w := start(t)
	first := w.must(t, 200, "PUT", "/secrets/s", object{"value": "one", "contentType": "text/plain", "tags": object{"by": "test"}})
	second := w.must(t, 200, "PUT", "/secrets/S", object{"value": "two"})
	path := func(a reply) string { return strings.TrimPrefix(a.string("id"), w.url) }
	for at, want := range map[string]string{"/secrets/s": "two", "/secrets/s/": "two", path(first): "one", path(second): "two", strings.ToUpper(path(first)): "one"} {
		if a := w.must(t, 200, "GET", at, nil); a.string("value") != want {
			t.Errorf("%s: %s, want %s", at, a.text, want)
		}
	}
	a := w.must(t, 200, "PATCH", path(first), object{"attributes": object{"enabled": false, "exp": 2000000000}, "contentType": "x"})
	if a.at("value") != nil || a.string("contentType") != "x" || a.string("tags", "by") != "test" || a.at("attributes", "exp") != 2e9 {
		t.Errorf("update: %s", a.text)
	}
	w.refused(t, 403, "Forbidden", "SecretDisabled", "GET", path(first), nil)
	for at, want := range map[string]int{"/secrets": 1, "/secrets/s/versions": 2} {
		a := w.must(t, 200, "GET", at, nil)
		items := a.at("value").([]any)
		if len(items) != want || strings.Contains(a.text, `"value":"`) {
			t.Errorf("%s: %s", at, a.text)
		}
	}
	w.refused(t, 404, "SecretNotFound", "", "GET", "/secrets/none", nil)
	w.refused(t, 404, "SecretNotFound", "", "GET", "/secrets/s/"+strings.Repeat("0", 32), nil)
}

func TestSecretOutsideItsDatesIsRead(t *testing.T) {
	w := start(t)
	now := w.clock.Now().Unix()
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x", "attributes": object{"nbf": now + 60, "exp": now + 120}})
	w.must(t, 200, "GET", "/secrets/s", nil)
	w.clock.Add(time.Hour)
	w.must(t, 200, "GET", "/secrets/s", nil)
}

func TestSecretsThatAreRefused(t *testing.T) {
	w := start(t)
	for name, body := range map[string]any{
		"no body": nil, "not an object": "[]", "no value": object{}, "two": `{"value":"x"}{}`, "broken": `{"value":`,
		"too long":     object{"value": strings.Repeat("x", 25<<10+1)},
		"content type": object{"value": "x", "contentType": strings.Repeat("x", 256)},
		"tags":         object{"value": "x", "tags": manyTags(16)},
		"tag":          object{"value": "x", "tags": object{"a": strings.Repeat("x", 257)}},
		"dates":        object{"value": "x", "attributes": object{"nbf": 2, "exp": 1}},
		"unknown":      object{"value": "x", "colour": "blue"},
		"huge":         `{"value":"` + strings.Repeat("x", 2<<20) + `"}`,
	} {
		a := w.ask(t, "PUT", "/secrets/s", body)
		if a.status != 400 || a.at("error", "code") != "BadParameter" {
			t.Errorf("%s: %d %.200s", name, a.status, a.text)
		}
	}
	w.must(t, 200, "PUT", "/secrets/s", object{"value": strings.Repeat("x", 25<<10), "tags": manyTags(15)})
}

func TestSecretOfACertificate(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/c/create", object{"policy": ecPolicy("Self")})
	w.must(t, 202, "POST", "/certificates/c/create", object{})
	versions := w.Versions("c")
	a := w.must(t, 200, "GET", "/secrets/c?api-version=2026-04-01", nil)
	if a.at("managed") != true || a.string("previousVersion") != versions[0].Version || a.string("kid") != w.url+"/keys/c/"+versions[1].Version || a.string("contentType") != keyvault.PKCS12 {
		t.Errorf("secret: %s", a.text)
	}
	if again := w.must(t, 200, "GET", "/secrets/c", nil); again.string("value") != a.string("value") || again.at("previousVersion") != nil {
		t.Error("the secret is another at the second look, or has a member that version 7.6 lacks")
	}
	if a := w.must(t, 200, "GET", "/secrets/c?api-version=2026-04-01&outContentType=application/x-pem-file", nil); !strings.HasPrefix(a.string("value"), "-----BEGIN PRIVATE KEY") || a.string("contentType") != keyvault.PEM {
		t.Errorf("as PEM: %s", a.text)
	}
	w.refused(t, 400, "BadParameter", "", "GET", "/secrets/c?outContentType=application/x-pem-file", nil)
	if err := w.SetEnabled("c", versions[1].Version, false); err != nil {
		t.Fatal(err)
	}
	w.refused(t, 403, "Forbidden", "SecretDisabled", "GET", "/secrets/c", nil)
	w.must(t, 200, "GET", "/certificates/c", nil)
}

func TestPages(t *testing.T) {
	w := start(t)
	for i := range 30 {
		w.must(t, 200, "PUT", fmt.Sprintf("/secrets/s%02d", i), object{"value": "x"})
	}
	seen, pages := map[string]bool{}, 0
	for next := "/secrets?maxresults=20&api-version=7.6"; next != ""; pages++ {
		a := w.must(t, 200, "GET", next, nil)
		for _, item := range a.at("value").([]any) {
			seen[item.(object)["id"].(string)] = true
		}
		next = strings.TrimPrefix(a.string("nextLink"), w.url)
	}
	if len(seen) != 30 || pages != 2 {
		t.Errorf("%d secrets on %d pages, want 30 on 2", len(seen), pages)
	}
	for _, bad := range []string{"maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=-1", "$skiptoken=x"} {
		w.refused(t, 400, "BadParameter", "", "GET", "/secrets?"+bad, nil)
	}
	w.must(t, 200, "GET", "/secrets?$skiptoken=9223372036854775807", nil)
	w.refused(t, 501, "NotImplemented", "", "GET", "/secrets?colour=blue", nil)
}

func TestDeleteRecoverPurge(t *testing.T) {
	for _, test := range []struct {
		collection, code, method, create string
		body                             any
		status                           int
	}{
		{"certificates", "CertificateNotFound", "POST", "/create", object{"policy": ecPolicy("Self")}, 202},
		{"secrets", "SecretNotFound", "PUT", "", object{"value": "x"}, 200},
		{"keys", "KeyNotFound", "POST", "/create", object{"kty": "EC"}, 200},
	} {
		w := start(t)
		live, gone := "/"+test.collection+"/x", "/deleted"+test.collection+"/x"
		create := func(status int) reply {
			t.Helper()
			return w.must(t, status, test.method, live+test.create, test.body)
		}
		w.refused(t, 404, test.code, "", "DELETE", live, nil)
		create(test.status)
		a := w.must(t, 200, "DELETE", live, nil)
		now := w.clock.Now()
		if a.string("recoveryId") != w.url+gone || a.at("deletedDate") != float64(now.Unix()) || a.at("scheduledPurgeDate") != float64(now.AddDate(0, 0, 90).Unix()) {
			t.Errorf("%s: %s", live, a.text)
		}
		w.refused(t, 404, test.code, "", "GET", live, nil)
		w.refused(t, 404, test.code, "", "DELETE", live, nil)
		w.must(t, 200, "GET", gone, nil)
		if a := w.must(t, 200, "GET", "/deleted"+test.collection, nil); len(a.at("value").([]any)) != 1 {
			t.Errorf("deleted: %s", a.text)
		}
		w.refused(t, 409, "Conflict", "ObjectIsDeletedButRecoverable", test.method, live+test.create, test.body)
		w.must(t, 200, "POST", gone+"/recover", nil)
		w.must(t, 200, "GET", live, nil)
		w.refused(t, 404, test.code, "", "GET", gone, nil)
		w.must(t, 200, "DELETE", live, nil)
		w.must(t, 204, "DELETE", gone, nil)
		w.refused(t, 404, test.code, "", "DELETE", gone, nil)
		create(test.status)
		// After the retention it is gone by itself.
		w.must(t, 200, "DELETE", live, nil)
		w.clock.Add(91 * 24 * time.Hour)
		w.refused(t, 404, test.code, "", "GET", gone, nil)
		create(test.status)
	}
}

func TestDeletionTakesTimeUnlessCalm(t *testing.T) {
	w := start(t, func(c *origin.Cloud) { c.Calm = false })
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
	w.must(t, 200, "DELETE", "/secrets/s", nil)
	w.refused(t, 404, "SecretNotFound", "", "GET", "/deletedsecrets/s", nil)
	w.refused(t, 409, "Conflict", "ObjectIsBeingDeleted", "PUT", "/secrets/s", object{"value": "x"})
	w.refused(t, 409, "Conflict", "ObjectIsBeingDeleted", "DELETE", "/deletedsecrets/s", nil)
	w.refused(t, 409, "Conflict", "ObjectIsBeingDeleted", "POST", "/deletedsecrets/s/recover", nil)
	w.clock.Add(time.Minute)
	w.refused(t, 409, "Conflict", "ObjectIsDeletedButRecoverable", "PUT", "/secrets/s", object{"value": "x"})
	w.must(t, 200, "POST", "/deletedsecrets/s/recover", nil)
	w.refused(t, 404, "SecretNotFound", "", "GET", "/secrets/s", nil)
	w.refused(t, 409, "Conflict", "ObjectIsBeingRecovered", "PUT", "/secrets/s", object{"value": "x"})
	w.refused(t, 409, "Conflict", "ObjectIsBeingRecovered", "DELETE", "/secrets/s", nil)
	w.clock.Add(time.Minute)
	w.must(t, 200, "GET", "/secrets/s", nil)
	w.must(t, 200, "DELETE", "/secrets/s", nil)
	w.refused(t, 409, "Conflict", "ObjectIsBeingDeleted", "DELETE", "/secrets/s", nil)
	w.clock.Add(time.Minute)
	// A name that was purged is not free at once, though nothing is left of the
	// object, and a snapshot knows that too.
	w.must(t, 204, "DELETE", "/deletedsecrets/s", nil)
	state, err := w.Snapshot()
	if err != nil || strings.Contains(string(state), `"value":`) {
		t.Errorf("after a purge: %s (%v)", state, err)
	}
	if err := w.Restore(state); err != nil {
		t.Fatal(err)
	}
	w.refused(t, 404, "SecretNotFound", "", "GET", "/deletedsecrets/s", nil)
	w.refused(t, 404, "SecretNotFound", "", "DELETE", "/deletedsecrets/s", nil)
	w.refused(t, 404, "SecretNotFound", "", "POST", "/deletedsecrets/s/recover", nil)
	w.refused(t, 409, "Conflict", "ObjectIsBeingDeleted", "PUT", "/secrets/s", object{"value": "x"})
	w.clock.Add(time.Minute)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
}

// What a calm vault does at once stays done when the clock is set back.
func TestDeletionOutlastsAStepOfTheClock(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
	w.must(t, 200, "DELETE", "/secrets/s", nil)
	w.clock.Add(-time.Hour)
	w.must(t, 200, "GET", "/deletedsecrets/s", nil)
	w.must(t, 204, "DELETE", "/deletedsecrets/s", nil)
	w.clock.Add(-time.Hour)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
}

func TestRetentionAndProtection(t *testing.T) {
	w := start(t)
	for _, days := range []int{6, 91} {
		if err := w.SoftDelete(days, false); err == nil {
			t.Errorf("a retention of %d days was taken", days)
		}
	}
	for days, want := range map[int][2]string{90: {"Recoverable+Purgeable", "Recoverable"}, 7: {"CustomizedRecoverable+Purgeable", "CustomizedRecoverable"}} {
		for i, protect := range []bool{false, true} {
			if err := w.SoftDelete(days, protect); err != nil {
				t.Fatal(err)
			}
			a := w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
			if a.string("attributes", "recoveryLevel") != want[i] || a.at("attributes", "recoverableDays") != float64(days) {
				t.Errorf("%d days, protected %v: %s", days, protect, a.text)
			}
		}
	}
	if err := w.SoftDelete(7, true); err != nil {
		t.Fatal(err)
	}
	w.must(t, 200, "DELETE", "/secrets/s", nil)
	w.refused(t, 403, "Forbidden", "", "DELETE", "/deletedsecrets/s", nil)
	w.clock.Add(7 * 24 * time.Hour)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
}

func TestBackupAndRestore(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/c/create", object{"policy": ecPolicy("Self")})
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "what is secret"})
	w.must(t, 200, "POST", "/keys/k/create", object{"kty": "EC"})
	values := map[string]string{}
	for collection, name := range map[string]string{"certificates": "c", "secrets": "s", "keys": "k"} {
		path := "/" + collection + "/" + name
		before := w.must(t, 200, "GET", path, nil)
		value := w.must(t, 200, "POST", path+"/backup", nil).string("value")
		values[collection] = value
		sealed, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil || bytes.Contains(sealed, []byte("what is secret")) {
			t.Errorf("%s: the backup is not sealed: %v", path, err)
		}
		restore := "/" + collection + "/restore"
		w.refused(t, 409, "Conflict", "", "POST", restore, object{"value": value})
		w.must(t, 200, "DELETE", path, nil)
		w.refused(t, 409, "Conflict", "ObjectIsDeletedButRecoverable", "POST", restore, object{"value": value})
		w.must(t, 204, "DELETE", "/deleted"+collection+"/"+name, nil)
		w.must(t, 200, "POST", restore, object{"value": value})
		after := w.must(t, 200, "GET", path, nil)
		before.body["pending"], after.body["pending"] = nil, nil
		if fmt.Sprint(before.body) != fmt.Sprint(after.body) {
			t.Errorf("%s: %s became %s", path, before.text, after.text)
		}
		w.refused(t, 400, "BadParameter", "", "POST", restore, object{"value": value[:len(value)-4] + "AAAA"})
		w.refused(t, 400, "BadParameter", "", "POST", restore, object{"value": ""})
	}
	w.refused(t, 400, "BadParameter", "", "POST", "/keys/restore", object{"value": values["secrets"]})
}

func TestSnapshot(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/c/create", object{"policy": ecPolicy("Self")})
	w.must(t, 202, "POST", "/certificates/waiting/create", object{"policy": ecPolicy("Unknown")})
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
	w.must(t, 200, "PUT", "/secrets/gone", object{"value": "y"})
	w.must(t, 200, "DELETE", "/secrets/gone", nil)
	w.must(t, 200, "POST", "/keys/k/create", object{"kty": "EC", "crv": "P-521"})
	w.must(t, 200, "PUT", "/certificates/contacts", object{"contacts": []object{{"email": "a@b.example"}}})
	w.must(t, 200, "PUT", "/certificates/issuers/ca", object{"provider": "GlobalSign"})
	paths := []string{"/certificates/c", "/secrets/c", "/certificates/waiting/pending", "/secrets/s", "/deletedsecrets/gone", "/keys/k", "/certificates/contacts", "/certificates/issuers/ca"}
	before := map[string]string{}
	for _, path := range paths {
		before[path] = w.must(t, 200, "GET", path, nil).text
	}
	state, err := w.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths[:1] {
		w.must(t, 200, "DELETE", path, nil)
	}
	w.Deny(somebody, "secrets/get")
	for _, bad := range []string{"", "{}{", `{"retention":3}`, `{"issuers":{"x":{}}}`, `{"secrets":{"live":null}}`, `{"secrets":{"live":{"x":{}}}}`, `{"keys":{"deleted":{"x":{"object":{}}}}}`, `{"certificates":{"live":{"x":{}}}}`, `{"certificates":{"live":{"x":{"versions":[{"key":"AA=="}]}}}}`} {
		if err := w.Restore([]byte(bad)); err == nil {
			t.Errorf("the snapshot %q was taken", bad)
		}
	}
	if err := w.Restore(state); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if after := w.must(t, 200, "GET", path, nil).text; after != before[path] {
			t.Errorf("%s: %s became %s", path, before[path], after)
		}
	}
	again, err := w.Snapshot()
	if err != nil || !bytes.Equal(state, again) {
		t.Errorf("the second snapshot differs from the first: %v", err)
	}
}

func TestContacts(t *testing.T) {
	w := start(t)
	w.refused(t, 404, "ContactsNotFound", "", "GET", "/certificates/contacts", nil)
	w.refused(t, 400, "BadParameter", "", "PUT", "/certificates/contacts", object{"contacts": []object{}})
	w.refused(t, 400, "BadParameter", "", "PUT", "/certificates/contacts", object{"contacts": []object{{"email": "nobody"}}})
	w.must(t, 200, "PUT", "/certificates/contacts", object{"contacts": []object{{"email": "a@b.example", "name": "A", "phone": "1"}}})
	w.must(t, 200, "DELETE", "/certificates/contacts", nil)
	w.refused(t, 404, "ContactsNotFound", "", "GET", "/certificates/contacts", nil)
}

func TestBodiesAreObjects(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
	for _, body := range []string{"", " ", "null", "[]", `"x"`, "{", "{}{}", `{"tags":1}`} {
		w.refused(t, 400, "BadParameter", "", "PATCH", "/secrets/s", body)
	}
	w.must(t, 200, "PATCH", "/secrets/s", " {} ")
}
