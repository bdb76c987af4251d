package m365_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
)

const vaultResource = "https://vault.azure.net"

func (w *tenantWorld) vaultURL(path string) string {
	return w.Origins().Vault + path + "?api-version=7.5"
}

// principal is the object ID of the application's service principal.
func (w *tenantWorld) principal(t *testing.T) string {
	t.Helper()
	p, ok := w.Tenant.Directory.View(0).ServicePrincipalByAppID(w.app.AppID)
	if !ok {
		t.Fatal("the application has no service principal")
	}
	return p.ID
}

// vault calls the vault as an application that may do everything there.
func (w *tenantWorld) vault(t *testing.T, method, path, body string) string {
	t.Helper()
	for _, kind := range []string{"certificates", "secrets", "keys"} {
		w.Tenant.Vault.Allow(w.principal(t), kind+"/all", kind+"/purge")
	}
	return w.as(t, w.app.AppID, vaultResource, method, w.vaultURL(path), body)
}

// steps are requests one after the other, of which the last is refused: method, path with
// a place for the name, body.
func steps(requests ...[3]string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		text := ""
		for _, r := range requests {
			text = w.vault(t, r[0], named(r[1], t), r[2])
		}
		return text
	}
}

// named puts a name into a path that nothing has but what the test itself has made.
func named(path string, t *testing.T) string {
	return fmt.Sprintf(path, uuid.NewSHA1(uuid.NameSpaceURL, []byte(t.Name())))
}

const (
	selfSigned = `{"policy": {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=x"}, "key_props": {"exportable": true, "kty": "RSA", "key_size": 2048, "reuse_key": false}, "secret_props": {"contentType": "application/x-pkcs12"}}}`
	bySomebody = `{"policy": {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=x"}, "key_props": {"exportable": true, "kty": "RSA", "key_size": 2048, "reuse_key": false}, "secret_props": {"contentType": "application/x-pkcs12"}}}`
	digest     = `{"alg": "ES256", "value": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"}`
)

// refusedBy is the vault with a network that lets nobody in, or with roles.
func refusedBy(change func(*keyvault.Vault)) provocation {
	return alone(func(t *testing.T, w *tenantWorld) string {
		change(w.Tenant.Vault)
		return w.vault(t, http.MethodGet, "/secrets/x", "")
	})
}

var getNothing = func(t *testing.T, w *tenantWorld) string { return w.vault(t, http.MethodGet, "/secrets/nothing", "") }

var provokedVault = map[string]provocation{
	"AKV10000": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodGet, w.vaultURL("/secrets/x"), "")
	},
	"AKV10001": func(t *testing.T, w *tenantWorld) string {
		w.Inject(emulator.Fault{API: "vault", Kind: emulator.ExpiredToken, Times: 1})
		return getNothing(t, w)
	},
	"AKV10022": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, atGraph, http.MethodGet, w.vaultURL("/secrets/x"), "")
	},

	"AKV10032": func(t *testing.T, w *tenantWorld) string {
		w.Inject(emulator.Fault{API: "vault", Kind: emulator.ForeignToken, Times: 1})
		return getNothing(t, w)
	},

	"ForbiddenByRbac":       refusedBy(func(v *keyvault.Vault) { v.UseRBAC() }),
	"ForbiddenByFirewall":   refusedBy(func(v *keyvault.Vault) { v.SetNetwork(keyvault.ByFirewall) }),
	"ForbiddenByConnection": refusedBy(func(v *keyvault.Vault) { v.SetNetwork(keyvault.ByConnection) }),
	"AccessDenied": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, vaultResource, http.MethodGet, w.vaultURL("/secrets/x"), "")
	},
	"Forbidden: purge protection": alone(func(t *testing.T, w *tenantWorld) string {
		if err := w.Tenant.Vault.SoftDelete(7, true); err != nil {
			t.Fatal(err)
		}
		return steps([3]string{"PUT", "/secrets/%s", `{"value": "x"}`}, [3]string{"DELETE", "/secrets/%s"}, [3]string{"DELETE", "/deletedsecrets/%s"})(t, w)
	}),
	"Forbidden: pending certificate":      steps([3]string{"POST", "/certificates/%s/create", bySomebody}, [3]string{"POST", "/certificates/%s/create", bySomebody}),
	"Forbidden: belongs to a certificate": steps([3]string{"POST", "/certificates/%s/create", selfSigned}, [3]string{"DELETE", "/secrets/%s"}),
	"SecretDisabled":                      steps([3]string{"PUT", "/secrets/%s", `{"value": "x", "attributes": {"enabled": false}}`}, [3]string{"GET", "/secrets/%s"}),
	"KeyDisabled":                         steps([3]string{"POST", "/keys/%s/create", `{"kty": "EC", "crv": "P-256", "attributes": {"enabled": false}}`}, [3]string{"POST", "/keys/%s//sign", digest}),
	"KeyExpired":                          steps([3]string{"POST", "/keys/%s/create", `{"kty": "EC", "crv": "P-256", "attributes": {"exp": 1000000000}}`}, [3]string{"POST", "/keys/%s//sign", digest}),
	"KeyNotYetValid":                      steps([3]string{"POST", "/keys/%s/create", `{"kty": "EC", "crv": "P-256", "attributes": {"nbf": 4000000000}}`}, [3]string{"POST", "/keys/%s//sign", digest}),
	"KeyOperationForbidden":               steps([3]string{"POST", "/keys/%s/create", `{"kty": "EC", "crv": "P-256", "key_ops": ["verify"]}`}, [3]string{"POST", "/keys/%s//sign", digest}),

	"CertificateNotFound":             steps([3]string{"GET", "/certificates/%s"}),
	"SecretNotFound":                  steps([3]string{"GET", "/secrets/%s"}),
	"KeyNotFound":                     steps([3]string{"GET", "/keys/%s"}),
	"PendingCertificateNotFound":      steps([3]string{"GET", "/certificates/%s/pending"}),
	"ObjectIsDeletedButRecoverable":   steps([3]string{"PUT", "/secrets/%s", `{"value": "x"}`}, [3]string{"DELETE", "/secrets/%s"}, [3]string{"PUT", "/secrets/%s", `{"value": "x"}`}),
	"ObjectIsBeingDeleted":            slowly("ObjectIsBeingDeleted", [3]string{"PUT", "/secrets/%s", `{"value": "x"}`}, [3]string{"DELETE", "/secrets/%s"}),
	"ObjectIsBeingRecovered":          slowly("ObjectIsBeingRecovered", [3]string{"PUT", "/secrets/%s", `{"value": "x"}`}, [3]string{"DELETE", "/secrets/%s"}, [3]string{"POST", "/deletedsecrets/%s/recover"}),
	"Conflict: A key or secret named": steps([3]string{"PUT", "/secrets/%s", `{"value": "x"}`}, [3]string{"POST", "/certificates/%s/create", selfSigned}),
	"Conflict":                        restored,
	"BadParameter":                    steps([3]string{"PUT", "/secrets/%s", `{"value": 1}`}),

	"Throttled":           failing("vault", "", emulator.Throttle, getNothing),
	"ServiceUnavailable":  failing("vault", "", emulator.Unavailable, getNothing),
	"InternalServerError": failing("vault", "", emulator.ServerError, getNothing),
}

// slowly does the requests in a vault that takes its time, and asks for the secret's name
// at once.
func slowly(code string, requests ...[3]string) provocation {
	return func(t *testing.T, _ *tenantWorld) string {
		w := unkind(t)
		w.Tenant.Vault.Allow(w.principal(t), "secrets/all")
		token := w.patientToken(t, vaultResource)
		for i, r := range requests {
			until(t, " 20", func() string {
				if i > 1 {
					w.clock.Add(10 * time.Second) // the deletion is done
				}
				return w.try(t, r[0], w.vaultURL(named(r[1], t)), r[2], token)
			})
		}
		return until(t, code, func() string {
			return w.try(t, http.MethodPut, w.vaultURL(named("/secrets/%s", t)), `{"value": "x"}`, token)
		})
	}
}

// restored brings back a backup of what is there.
func restored(t *testing.T, w *tenantWorld) string {
	w.vault(t, http.MethodPut, named("/secrets/%s", t), `{"value": "x"}`)
	backup := w.vault(t, http.MethodPost, named("/secrets/%s/backup", t), "")
	return w.vault(t, http.MethodPost, "/secrets/restore", backup[indexOfObject(backup):])
}
