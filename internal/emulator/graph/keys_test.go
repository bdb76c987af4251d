package graph_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// proof is the proof of possession that addKey and removeKey want.
func (w *world) proof(t *testing.T, p pair, objectID string) string {
	t.Helper()
	claims, err := json.Marshal(object{
		"aud": directory.AADGraph, "iss": objectID, "nbf": w.now().Unix(), "exp": w.now().Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT","x5t":"`+encode(directory.Thumbprint(p.der))+`"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

func TestApplicationRollsItsOwnKeys(t *testing.T) {
	w := newWorld(t)
	for _, set := range []string{"/applications/", "/servicePrincipals/"} {
		applicationID, appID, principalID := w.app(t, "self "+set)
		self := caller{oid: principalID, appID: appID}
		other := caller{oid: uuid.NewString(), appID: uuid.NewString()}
		id := applicationID
		if set == "/servicePrincipals/" {
			id = principalID
		}
		first, second := w.pair(t, time.Hour), w.pair(t, time.Hour)
		key := func(p pair) object {
			return object{"type": "AsymmetricX509Cert", "usage": "Verify", "key": p.base64()}
		}
		add := func(c caller, proof string) answer {
			return w.do(t, c, "POST", set+id+"/addKey", object{"keyCredential": key(second), "passwordCredential": nil, "proof": proof})
		}
		if a := add(self, w.proof(t, first, id)); a.status != 401 || a.code() != "Authentication_MissingOrMalformed" {
			t.Errorf("addKey without a registered key: %d %s", a.status, a.text)
		}
		w.must(t, 204, "PATCH", set+id, object{"keyCredentials": []object{key(first)}})
		if a := add(other, w.proof(t, first, id)); a.status != 403 {
			t.Errorf("addKey to another's: %d %s", a.status, a.text)
		}
		other.roles = []string{"Application.ReadWrite.OwnedBy"}
		if a := add(other, w.proof(t, first, id)); a.status != 403 {
			t.Errorf("addKey to another's that it does not own: %d %s", a.status, a.text)
		}
		if a := add(self, w.proof(t, first, appID)); a.status != 401 {
			t.Errorf("addKey with the client ID as issuer: %d %s", a.status, a.text)
		}
		a := add(self, w.proof(t, first, id))
		keyID, _ := a.body["keyId"].(string)
		if a.status != 200 || keyID == "" || a.body["@odata.context"] != "https://127.0.0.1:1/v1.0/$metadata#microsoft.graph.keyCredential" {
			t.Fatalf("addKey: %d %s", a.status, a.text)
		}
		if a := w.do(t, self, "POST", set+id+"/removeKey", object{"keyId": uuid.NewString(), "proof": w.proof(t, second, id)}); a.status != 400 {
			t.Errorf("removeKey of an unknown key: %d %s", a.status, a.text)
		}
		if a := w.do(t, self, "POST", set+id+"/removeKey", object{"keyId": keyID, "proof": w.proof(t, second, id)}); a.status != 204 || a.text != "" {
			t.Errorf("removeKey: %d %s", a.status, a.text)
		}
		keys := w.must(t, 200, "GET", set+id+"/keyCredentials", nil)
		if len(keys.value()) != 1 || keys.value()[0]["keyId"] == keyID {
			t.Errorf("keys that are left: %s", keys.text)
		}
	}
}

func TestPasswords(t *testing.T) {
	w := newWorld(t)
	id, appID, _ := w.app(t, "one")
	a := w.must(t, 200, "POST", "/applications/"+id+"/addPassword", object{"passwordCredential": object{"displayName": "pw"}})
	secret, _ := a.body["secretText"].(string)
	app, _ := w.directory.View(0).ApplicationByAppID(appID)
	if len(secret) < 16 || len(app.PasswordCredentials) != 1 || !app.PasswordCredentials[0].Is(secret) {
		t.Fatalf("addPassword: %s", a.text)
	}
	if l := w.must(t, 200, "GET", "/applications/"+id+"/passwordCredentials", nil); l.value()[0]["secretText"] != nil || l.value()[0]["displayName"] != "pw" {
		t.Errorf("what is shown later: %s", l.text)
	}
	w.refused(t, 400, "Request_BadRequest", "POST", "/applications/"+id+"/removePassword", object{"keyId": uuid.NewString()})
	w.must(t, 204, "POST", "/applications/"+id+"/removePassword", object{"keyId": a.body["keyId"]})
	if l := w.must(t, 200, "GET", "/applications/"+id+"/passwordCredentials", nil); len(l.value()) != 0 {
		t.Errorf("after removal: %s", l.text)
	}
	personal := w.must(t, 201, "POST", "/applications", object{"displayName": "p", "signInAudience": "AzureADandPersonalMicrosoftAccount"})
	for i := range 3 {
		a := w.do(t, admin, "POST", "/applications/"+personal.id()+"/addPassword", nil)
		if want := map[bool]int{true: 200, false: 400}[i < 2]; a.status != want {
			t.Errorf("secret %d of an application for personal accounts: %d %s", i+1, a.status, a.text)
		}
	}
}

func TestPoliciesLimitCredentials(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	short, long := w.pair(t, 24*time.Hour), w.pair(t, 60*24*time.Hour)
	patch := func(set string, p pair) answer {
		return w.do(t, admin, "PATCH", set, object{"keyCredentials": []object{{"type": "AsymmetricX509Cert", "usage": "Verify", "key": p.base64()}}})
	}
	limit := func(days string) object {
		return object{"keyCredentials": []object{{"restrictionType": "asymmetricKeyLifetime", "state": "enabled", "maxLifetime": days}}}
	}
	const standard = "/policies/defaultAppManagementPolicy"
	if a := w.must(t, 200, "GET", standard, nil); a.body["isEnabled"] != false {
		t.Errorf("the tenant's policy at first: %s", a.text)
	}
	w.must(t, 204, "PATCH", standard, object{"isEnabled": true, "applicationRestrictions": limit("P30D")})
	if a := patch("/applications/"+id, long); a.status != 400 || a.code() != "CredentialInvalidLifetimeAsPerAppPolicy" {
		t.Errorf("a certificate that lives too long: %d %s", a.status, a.text)
	}
	if a := patch("/applications/"+id, short); a.status != 204 {
		t.Errorf("a certificate that does not: %d %s", a.status, a.text)
	}
	if a := patch("/servicePrincipals/"+principalID, long); a.status != 204 {
		t.Errorf("a service principal, which the policy leaves alone: %d %s", a.status, a.text)
	}
	w.must(t, 204, "PATCH", "/servicePrincipals/"+principalID, object{"keyCredentials": []object{}})
	w.must(t, 204, "PATCH", standard, object{"servicePrincipalRestrictions": limit("P30D")})
	if a := patch("/servicePrincipals/"+principalID, long); a.status != 400 {
		t.Errorf("a service principal, which the policy restricts: %d %s", a.status, a.text)
	}

	policy := w.must(t, 201, "POST", "/policies/appManagementPolicies", object{"displayName": "longer", "isEnabled": true, "restrictions": limit("P90D")})
	ref := object{"@odata.id": "https://graph.microsoft.com/v1.0/policies/appManagementPolicies/" + policy.id()}
	if a := w.must(t, 200, "GET", "/policies/appManagementPolicies", nil); len(a.value()) != 1 || a.value()[0]["id"] != policy.id() {
		t.Errorf("policies: %s", a.text)
	}
	w.must(t, 204, "POST", "/servicePrincipals/"+principalID+"/appManagementPolicies/$ref", ref)
	if a := patch("/servicePrincipals/"+principalID, long); a.status != 204 {
		t.Errorf("a service principal with a policy of its own: %d %s", a.status, a.text)
	}
	w.must(t, 204, "DELETE", "/servicePrincipals/"+principalID+"/appManagementPolicies/"+policy.id()+"/$ref", nil)
	w.refused(t, 404, "Request_ResourceNotFound", "POST", "/applications/"+id+"/appManagementPolicies/$ref", object{"@odata.id": "https://graph.microsoft.com/v1.0/policies/appManagementPolicies/" + uuid.NewString()})
	assigned := "/applications/" + id + "/appManagementPolicies"
	w.must(t, 204, "POST", assigned+"/$ref", ref)
	w.refused(t, 400, "Request_BadRequest", "POST", assigned+"/$ref", ref)
	if a := w.must(t, 200, "GET", assigned, nil); len(a.value()) != 1 {
		t.Errorf("assigned: %s", a.text)
	}
	if a := w.must(t, 200, "GET", "/policies/appManagementPolicies/"+policy.id()+"/appliesTo", nil); len(a.value()) != 1 || a.value()[0]["id"] != id {
		t.Errorf("applies to: %s", a.text)
	}
	if a := patch("/applications/"+id, long); a.status != 204 {
		t.Errorf("with a policy of its own: %d %s", a.status, a.text)
	}
	w.must(t, 204, "PATCH", "/policies/appManagementPolicies/"+policy.id(), object{"restrictions": limit("P1D")})
	if a := patch("/applications/"+id, short); a.status != 400 {
		t.Errorf("after the policy was changed: %d %s", a.status, a.text)
	}
	w.must(t, 204, "DELETE", assigned+"/"+policy.id()+"/$ref", nil)
	w.refused(t, 404, "Request_ResourceNotFound", "DELETE", assigned+"/"+policy.id()+"/$ref", nil)
	w.must(t, 204, "POST", assigned+"/$ref", ref)
	w.must(t, 204, "DELETE", "/policies/appManagementPolicies/"+policy.id(), nil)
	if a := w.must(t, 200, "GET", assigned, nil); len(a.value()) != 0 {
		t.Errorf("after the policy is gone: %s", a.text)
	}
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/policies/appManagementPolicies/"+policy.id(), nil)
}

func TestFederatedCredentials(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	set := "/applications/" + id + "/federatedIdentityCredentials"
	one := func(name, subject string) object {
		return object{"name": name, "issuer": "https://token.example", "subject": subject, "audiences": []string{"api://AzureADTokenExchange"}}
	}
	with := func(o object, name string, value any) object { o[name] = value; return o }
	first := w.must(t, 201, "POST", set, one("first", "s1"))
	for name, c := range map[string]struct {
		body object
		code string
	}{
		"short name":           {one("ab", "s2"), "Request_BadRequest"},
		"name with blanks":     {one("a b c", "s2"), "Request_BadRequest"},
		"no name":              {with(one("x", "s2"), "name", nil), "Request_BadRequest"},
		"plain issuer":         {with(one("abc", "s2"), "issuer", "http://token.example"), "Request_BadRequest"},
		"no subject":           {one("abc", ""), "Request_BadRequest"},
		"two audiences":        {with(one("abc", "s2"), "audiences", []string{"a", "b"}), "Request_BadRequest"},
		"no audience":          {with(one("abc", "s2"), "audiences", []string{}), "Request_BadRequest"},
		"same issuer, subject": {one("abc", "s1"), "Request_BadRequest"},
		"unknown member":       {with(one("abc", "s2"), "colour", "red"), "Request_BadRequest"},
	} {
		if a := w.do(t, admin, "POST", set, c.body); a.status != 400 || a.code() != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", set, one("first", "s2"))
	if a := w.must(t, 200, "GET", set+"/first", nil); a.id() != first.id() {
		t.Errorf("by name: %s", a.text)
	}
	w.must(t, 204, "PATCH", set+"(name='first')", object{"description": "d"})
	w.refused(t, 400, "Request_BadRequest", "PATCH", set+"/first", object{"name": "other"})
	if a := w.must(t, 200, "GET", set+"/"+first.id(), nil); a.body["description"] != "d" || a.body["subject"] != "s1" {
		t.Errorf("after PATCH: %s", a.text)
	}
	second := one("second", "s2")
	delete(second, "name")
	w.refused(t, 404, "Request_ResourceNotFound", "PATCH", set+"(name='second')", second)
	w.must(t, 201, "PATCH", set+"(name='second')", second, "Prefer", "create-if-missing")
	for i := 3; i <= 20; i++ {
		w.must(t, 201, "POST", set, one("nr-"+string(rune('a'+i)), "s"+string(rune('a'+i))))
	}
	w.refused(t, 400, "Request_BadRequest", "POST", set, one("one-more", "more"))
	w.must(t, 204, "DELETE", set+"/first", nil)
	w.refused(t, 404, "Request_ResourceNotFound", "DELETE", set+"/first", nil)
	if a := w.must(t, 200, "GET", set, nil); len(a.value()) != 19 {
		t.Errorf("%d are left", len(a.value()))
	}
}
