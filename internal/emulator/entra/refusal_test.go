package entra_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// provocations gets every number that the token service knows out of it, each
// from a world of its own.
var provocations = map[int]func(*testing.T, *world) answer{
	// The request.
	50059:   tokenAt("/organizations/oauth2/v2.0/token"),
	9001023: tokenAt("/common/oauth2/v2.0/token"),
	90002:   tokenAt("/nobody.example.com/oauth2/v2.0/token"),
	900023:  tokenAt("/no%20tenant/oauth2/v2.0/token"),
	70003:   tokenAt("", "grant_type", "magic"),
	900144:  tokenAt("", "grant_type", ""),
	901002:  tokenAt("", "resource", "https://graph.microsoft.com"),
	900561:  func(t *testing.T, w *world) answer { return w.get(t, w.v2("token")) },
	9002313: func(t *testing.T, w *world) answer {
		return w.do(t, "POST", w.v2("token"), "%zz", "Content-Type", "application/x-www-form-urlencoded")
	},
	90023: ask(webRedirect, "prompt", "maybe"),
	50049: func(t *testing.T, w *world) answer {
		return w.get(t, "/common/discovery/instance?authorization_endpoint=https://login.example.com/x")
	},

	// The client and its credential.
	700016:  tokenAt("", "client_id", uuid.NewString()),
	7000215: tokenAt("", "client_secret", "wrong"),
	7000216: tokenAt("", "client_secret", ""),
	7000218: func(t *testing.T, w *world) answer {
		return w.post(t, w.v2("token"), url.Values{"grant_type": {"device_code"}, "client_id": {w.app.AppID}, "device_code": {"x"}})
	},
	7000222: func(t *testing.T, w *world) answer {
		form := w.bySecret(t)
		w.pass(2 * time.Hour)
		return w.post(t, w.v2("token"), form)
	},
	7000229: func(t *testing.T, w *world) answer {
		ok(t, w.Directory.Update(func(u *directory.Update) error { u.RemoveServicePrincipal(w.sp.ID); return nil }))
		return w.post(t, w.v2("token"), w.bySecret(t))
	},
	7000112: func(t *testing.T, w *world) answer {
		ok(t, w.Directory.ChangeServicePrincipal(w.app.AppID, func(p *directory.ServicePrincipal) error { p.AccountEnabled = false; return nil }))
		return w.post(t, w.v2("token"), w.bySecret(t))
	},
	50194: func(t *testing.T, w *world) answer {
		return w.post(t, "/common/oauth2/v2.0/devicecode", url.Values{"client_id": {w.app.AppID}, "scope": {"openid"}})
	},
	700025: func(t *testing.T, w *world) answer {
		_, poll := w.device(t)
		return w.post(t, "/organizations/oauth2/v2.0/token", with(poll, "client_secret", "x"))
	},
	50012: func(t *testing.T, w *world) answer {
		w.RefuseReplay = true
		form := w.byAssertion(w.goodAssertion().mustSign(t))
		mustToken(t, w.post(t, w.v2("token"), form))
		return w.post(t, w.v2("token"), form)
	},
	50027:   spoiled(func(a *assertion) { a.spoil = "." }),
	90014:   spoiled(func(a *assertion) { delete(a.claims, "sub") }),
	700021:  spoiled(func(a *assertion) { a.claims["sub"] = "x" }),
	700023:  spoiled(func(a *assertion) { a.claims["aud"] = "https://example.com" }),
	700024:  spoiled(func(a *assertion) { a.claims["exp"] = 1 }),
	700027:  spoiled(func(a *assertion) { a.pss = false }),
	5002723: spoiled(func(a *assertion) { a.named(nil) }),
	5002738: spoiled(func(a *assertion) { a.header["alg"] = "ES256" }),
	700026: func(t *testing.T, w *world) answer {
		w.change(t, func(a *directory.Application) { a.KeyCredentials = nil })
		return w.post(t, w.v2("token"), w.byAssertion(w.goodAssertion().mustSign(t)))
	},
	700030: func(t *testing.T, w *world) answer {
		authority := mustPair(t, "authority", w.Now().Add(-time.Hour), w.Now().Add(time.Hour), nil)
		w.trust(t, "other.example.com", authority)
		return w.post(t, w.v2("token"), w.byAssertion(w.chained(t, mustPair(t, "reeve.example.com", w.Now().Add(-time.Hour), w.Now().Add(time.Hour), &authority)).mustSign(t)))
	},
	7000274: func(t *testing.T, w *world) answer {
		a := w.goodAssertion()
		a.header["x5c"] = []string{base64.StdEncoding.EncodeToString(w.expired.Raw)}
		return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t)))
	},

	// Federated credentials.
	700211:  federated(func(t *testing.T, w *world, a *assertion) { a.claims["iss"] = "https://other.example.com" }),
	700212:  federated(func(t *testing.T, w *world, a *assertion) { a.claims["aud"] = "api://other" }),
	700213:  federated(func(t *testing.T, w *world, a *assertion) { a.claims["sub"] = "repo:other" }),
	7002138: federated(func(t *testing.T, w *world, a *assertion) { a.claims["sub"] = strings.ToUpper(foreignSubject) }),
	7000272: federated(func(t *testing.T, w *world, a *assertion) { a.header["kid"] = "other" }),
	501661: federated(func(t *testing.T, w *world, a *assertion) {
		w.change(t, func(a *directory.Application) { a.FederatedCredentials[0].Issuer = "https://unreachable.example.com" })
		a.claims["iss"] = "https://unreachable.example.com"
	}),
	700229: func(t *testing.T, w *world) answer {
		issuer := w.host + "/" + w.Directory.TenantID + "/v2.0"
		w.change(t, func(a *directory.Application) {
			a.FederatedCredentials = []directory.FederatedCredential{{Issuer: issuer, Subject: "x", Audiences: []string{exchange}}}
		})
		s, err := w.Keys.Sign(map[string]any{"ver": "2.0", "iss": issuer, "sub": "x", "aud": directory.TokenExchange, "exp": w.Now().Unix() + 60, "oid": "y"})
		ok(t, err)
		return w.post(t, w.v2("token"), w.byAssertion(s))
	},

	// The resource, and what may be had of it.
	70011:   tokenAt("", "scope", `"x"`),
	1002012: tokenAt("", "scope", "https://graph.microsoft.com/User.Read"),
	700022:  tokenAt("", "scope", "https://graph.microsoft.com/.default https://vault.azure.net/.default"),
	500011:  tokenAt("", "scope", "https://nobody.example.com/.default"),
	900382:  tokenAt("", "scope", "https://graph.microsoft.us/.default"),
	500014: func(t *testing.T, w *world) answer {
		ok(t, w.Directory.ChangeServicePrincipal(directory.Graph, func(p *directory.ServicePrincipal) error { p.AccountEnabled = false; return nil }))
		return w.post(t, w.v2("token"), w.bySecret(t))
	},
	501051: func(t *testing.T, w *world) answer {
		ok(t, w.Directory.ChangeServicePrincipal(directory.KeyVault, func(p *directory.ServicePrincipal) error { p.AppRoleAssignmentRequired = true; return nil }))
		return w.post(t, w.v2("token"), with(w.bySecret(t), "scope", "https://vault.azure.net/.default"))
	},
	7000277: func(t *testing.T, w *world) answer {
		w.Revoke(hex.EncodeToString(directory.Thumbprint(w.cert.Raw)), true)
		return w.post(t, w.v2("token"), w.byAssertion(w.goodAssertion().mustSign(t)))
	},
	53003: func(t *testing.T, w *world) answer {
		w.Block(w.app.AppID, true)
		return w.post(t, w.v2("token"), w.bySecret(t))
	},
	65001: func(t *testing.T, w *world) answer {
		a := w.post(t, w.v2("token"), w.code(t, nativeRedirect))
		return w.post(t, w.v2("token"), url.Values{
			"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {a.Body["refresh_token"].(string)},
			"scope": {"https://graph.microsoft.com/Mail.Read"},
		})
	},
	650053: picked("", "scope", "https://graph.microsoft.com/No.Such"),
	650057: picked("", "scope", "https://vault.azure.net/.default"),

	// People.
	50034: picked("nobody@example.com"),
	50057: func(t *testing.T, w *world) answer {
		pat, _ := w.Directory.View(0).User(w.somebody)
		gone := *pat
		gone.AccountEnabled = false
		ok(t, w.Directory.Update(func(u *directory.Update) error { u.PutUser(&gone); return nil }))
		return w.pick(t, w.question(nativeRedirect), w.somebody, "")
	},
	50058: ask(nativeRedirect, "prompt", "none"),
	50105: func(t *testing.T, w *world) answer {
		ok(t, w.Directory.ChangeServicePrincipal(w.app.AppID, func(p *directory.ServicePrincipal) error { p.AppRoleAssignmentRequired = true; return nil }))
		return w.pick(t, w.question(nativeRedirect), w.somebody, "")
	},
	65004: func(t *testing.T, w *world) answer { return w.pick(t, w.question(nativeRedirect), "", "decline") },
	90094: func(t *testing.T, w *world) answer {
		return w.pick(t, w.question(nativeRedirect, "scope", "Application.ReadWrite.All"), w.somebody, "consent")
	},
	54005: func(t *testing.T, w *world) answer {
		form := w.code(t, nativeRedirect)
		mustToken(t, w.post(t, w.v2("token"), form))
		return w.post(t, w.v2("token"), form)
	},
	70000: redeemed(nativeRedirect, []string{"code", "1.other"}),
	70008: func(t *testing.T, w *world) answer {
		form := w.code(t, nativeRedirect)
		w.pass(time.Hour)
		return w.post(t, w.v2("token"), form)
	},
	500112:  redeemed(nativeRedirect, []string{"redirect_uri", webRedirect}),
	501481:  redeemed(nativeRedirect, []string{"code_verifier", ""}),
	9002326: redeemed(nativeRedirect, nil, "Origin", "https://spa.example.com"),
	9002327: redeemed(pageRedirect, nil),
	70016:   polled(func(*testing.T, *world, string) {}),
	70017:   polled(func(t *testing.T, w *world, code string) { ok(t, w.DeclineDeviceCode(code)) }),
	70019:   polled(func(t *testing.T, w *world, code string) { w.pass(time.Hour) }),
	70018: func(t *testing.T, w *world) answer {
		return w.post(t, w.v2("token"), url.Values{"grant_type": {"device_code"}, "client_id": {directory.AzureCLI}, "device_code": {"x"}})
	},
	700082: refreshed(nativeRedirect, 91*24*time.Hour),
	700084: refreshed(pageRedirect, 25*time.Hour, "Origin", "https://spa.example.com"),

	// The authorization endpoint.
	50011:   ask("https://evil.example.com/"),
	70005:   ask(webRedirect, "response_type", "everything"),
	70007:   ask(webRedirect, "response_mode", "pigeon"),
	501491:  ask(webRedirect, "code_challenge", "short"),
	700051:  ask(webRedirect, "response_type", "token"),
	700054:  ask(webRedirect, "response_type", "code id_token"),
	9002325: ask(pageRedirect, "code_challenge", ""),

	// The token service itself.
	50000: fault(origin.ServerError),
	90033: fault(origin.Unavailable),
	90055: fault(origin.ThrottleSilent),
}

// tokenAt asks for a token by secret, at a path or this tenant's, with values of
// the form set.
func tokenAt(path string, set ...string) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		at := path
		if at == "" {
			at = w.v2("token")
		}
		return w.post(t, at, with(w.bySecret(t), set...))
	}
}

func spoiled(spoil func(*assertion)) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		a := w.goodAssertion()
		spoil(a)
		return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t)))
	}
}

func federated(spoil func(*testing.T, *world, *assertion)) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		a := w.foreign(t)
		spoil(t, w, a)
		return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t)))
	}
}

func ask(redirect string, set ...string) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		return w.get(t, w.v2("authorize")+"?"+w.question(redirect, set...).Encode())
	}
}

func picked(user string, set ...string) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		who := user
		if who == "" {
			who = w.admin
		}
		return w.pick(t, w.question(nativeRedirect, set...), who, "")
	}
}

func redeemed(redirect string, set []string, header ...string) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		return w.post(t, w.v2("token"), with(w.code(t, redirect), set...), header...)
	}
}

func polled(meanwhile func(t *testing.T, w *world, userCode string)) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		userCode, poll := w.device(t)
		meanwhile(t, w, userCode)
		return w.post(t, "/organizations/oauth2/v2.0/token", poll)
	}
}

func refreshed(redirect string, after time.Duration, header ...string) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		a := w.post(t, w.v2("token"), w.code(t, redirect), header...)
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {a.Body["refresh_token"].(string)}}
		w.pass(after)
		return w.post(t, w.v2("token"), form, header...)
	}
}

func fault(kind origin.FaultKind) func(*testing.T, *world) answer {
	return func(t *testing.T, w *world) answer {
		w.Cloud.Faults.Inject(origin.Fault{API: origin.Authority, Operation: "token", Kind: kind})
		return w.get(t, w.v2("token"))
	}
}

func TestEveryRefusal(t *testing.T) {
	known := entra.Refusals()
	if len(known) < 40 {
		t.Errorf("only %d numbers are known", len(known))
	}
	for code := range provocations {
		if known[code] == "" {
			t.Errorf("AADSTS%d is provoked and not known", code)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(known)) {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			provoke := provocations[code]
			if provoke == nil {
				t.Fatalf("nothing provokes AADSTS%d", code)
			}
			w := start(t)
			w.platforms(t)
			a := provoke(t, w)
			switch {
			case a.Status == 302: // The client is told by the browser.
				back := sentBack(t, a)
				if text := back.Get("error_description"); trailer.FindStringSubmatch(text) == nil || !strings.HasPrefix(text, fmt.Sprintf("AADSTS%d: ", code)) {
					t.Errorf("sent back with %v", back)
				}
				if _, name, _ := strings.Cut(known[code], " "); back.Get("error") != name {
					t.Errorf("the error is %s, want %s", back.Get("error"), name)
				}
			case a.Body == nil: // Somebody sees a page.
				if !strings.Contains(a.Text, fmt.Sprintf("AADSTS%d: ", code)) || !strings.HasPrefix(known[code], fmt.Sprint(a.Status)) {
					t.Errorf("%d %s", a.Status, a.Text)
				}
			default:
				checkRefusal(t, w, a, code)
			}
		})
	}
}
