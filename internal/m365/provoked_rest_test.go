package m365_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365"
)

func read(resp *http.Response) string {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return resp.Status + " " + string(body)
}

func indexOfObject(text string) int { return strings.Index(text, "{") }

// feed calls the Management Activity API as an application that may read the audit log.
func feed(method, operation, body string, header ...string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		t.Helper()
		if err := w.Tenant.Directory.GrantRole(w.app.AppID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil && !strings.Contains(err.Error(), "already") {
			t.Fatal(err)
		}
		return w.as(t, w.app.AppID, manage, method, w.feedURL(w.Tenant.ID, operation), body, header...)
	}
}

func (w *tenantWorld) feedURL(tenantID, operation string) string {
	return w.Origins().Manage + "/api/v1.0/" + tenantID + "/activity/feed/" + operation
}

const general = "contentType=Audit.General"

// started asks once a subscription is there.
func started(ask provocation) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		feed("POST", "subscriptions/start?"+general, "")(t, w)
		return ask(t, w)
	}
}

var provokedActivity = map[string]provocation{
	"AF10001": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, manage, "GET", w.feedURL(w.Tenant.ID, "subscriptions/list"), "")
	},
	"token-refused": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, "GET", w.feedURL(w.Tenant.ID, "subscriptions/list"), "")
	},
	"AF20010": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, manage, "GET", w.feedURL(uuid.NewString(), "subscriptions/list"), "")
	},
	"AF20011": alone(func(t *testing.T, w *tenantWorld) string {
		w.control(t, "PUT", "/audit", `{"recording": false}`)
		return feed("GET", "subscriptions/list", "")(t, w)
	}),
	"AF20013": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, manage, "GET", w.feedURL("contoso.onmicrosoft.com", "subscriptions/list"), "")
	},
	"AF20020": feed("POST", "subscriptions/start?contentType=Audit.Everything", ""),
	"AF20021": feed("POST", "subscriptions/start?"+general, `{"webhook": {"address": "http://webhook.example.com"}}`),
	"AF20022": alone(func(t *testing.T, w *tenantWorld) string {
		feed("POST", "subscriptions/stop?"+general, "")(t, w)
		return feed("GET", "subscriptions/content?"+general, "")(t, w)
	}),
	"AF20024": started(feed("POST", "subscriptions/start?"+general, "")),
	"AF20030": started(feed("GET", "subscriptions/content?startTime=2026-01-01&"+general, "")),
	"AF20055": started(feed("GET", "subscriptions/content?startTime=2001-01-01&endTime=2001-01-02&"+general, "")),
	"AF20031": started(feed("GET", "subscriptions/content?nextPage=2&"+general, "")),
	"AF20050": started(feed("GET", "audit/20261118150831000000000$20261118150831000000000$dlp_all$DLP_All", "")),
	"AF20051": started(failing("manage", "blob", emulator.Gone, feed("GET", "audit/20261118150831000000000$20261118150831000000000$dlp_all$DLP_All", ""))),
	"AF20052": started(feed("GET", "audit/x", "")),
	"AF20001": feed("POST", "subscriptions/start", ""),
	"AF20002": feed("POST", "subscriptions/start?"+general, `[]`),
	"AF20003": feed("POST", "subscriptions/start?"+general, `{"webhook": {"address": "https://webhook.example.com", "expiration": "2001-01-01T00:00:00"}}`),
	"AF20053": feed("GET", "resources/dlpSensitiveTypes", "", "Accept-Language", "en, de"),
	"AF20054": feed("GET", "resources/dlpSensitiveTypes", "", "Accept-Language", "!"),
	"AF429":   failing("manage", "list", emulator.AF429, feed("GET", "subscriptions/list", "")),
	"AF50000": failing("manage", "list", emulator.ServerError, feed("GET", "subscriptions/list", "")),
}

// queried asks the workspace, as the tenant's client, which may.
func queried(query string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.Tenant.Client().ClientID, "https://api.loganalytics.io", "POST", w.workspace(w.Tenant.WorkspaceID), `{"query": "`+query+`"}`)
	}
}

func (w *tenantWorld) workspace(id string) string {
	return w.Origins().Logs + "/v1/workspaces/" + id + "/query"
}

const good = "AppTraces | take 1"

var provokedLogs = map[string]provocation{
	"AuthenticationFailed": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, "POST", w.workspace(w.Tenant.WorkspaceID), "{}")
	},
	"InvalidAuthenticationTokenAudience": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, atGraph, "POST", w.workspace(w.Tenant.WorkspaceID), "{}")
	},
	"InsufficientAccessError": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, "https://api.loganalytics.io", "POST", w.workspace(w.Tenant.WorkspaceID), "{}")
	},
	"PathNotFoundError": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, "https://api.loganalytics.io", "POST", w.workspace(uuid.NewString()), "{}")
	},
	"SyntaxError": queried("AppTraces | | take"),
	"BadArgumentError": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.Tenant.Client().ClientID, "https://api.loganalytics.io", "POST", w.workspace(w.Tenant.WorkspaceID)+"?timespan=soon", `{"query": "`+good+`"}`)
	},
	"PartialError":   failing("logs", "", emulator.PartialError, queried(good)),
	"GatewayTimeout": failing("logs", "", emulator.QueryTimeout, queried(good)),
	"ThrottledError": failing("logs", "", emulator.Throttle, queried(good)),
}

// networkError asks by a client of ours, once, and gives the error as reeve prints it.
func networkError(t *testing.T, address string, change func(*http.Transport), ca []byte) string {
	t.Helper()
	client := httpClient(t, ca)
	change(client.Transport.(*http.Transport))
	p := m365.NewPipeline(m365.PipelineOptions{Audience: manage, Credential: anyToken{}, HTTP: client, Retry: m365.Retry{Max: -1}})
	_, err := p.Do(t.Context(), m365.Call{Op: "asking", Method: http.MethodGet, URL: address})
	if err == nil {
		t.Fatal("an answer")
	}
	x, ok := m365.ExplanationOf(err)
	if !ok || !strings.Contains(err.Error(), x.Title) {
		t.Errorf("%v\n does not say %q", err, x.Title)
	}
	return strings.ReplaceAll(err.Error(), x.Title, "") // so that the network's own words tell
}

type anyToken struct{}

func (anyToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "any", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// behind asks by a proxy that answers so.
func behind(answer http.HandlerFunc) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		proxy := httptest.NewServer(answer)
		defer proxy.Close()
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		return networkError(t, w.tokenURL(), func(tr *http.Transport) { tr.Proxy = http.ProxyURL(at) }, w.CA())
	}
}

// changing asks the token service by a client that was changed.
func changing(change func(*http.Transport)) provocation {
	return func(t *testing.T, w *tenantWorld) string { return networkError(t, w.tokenURL(), change, w.CA()) }
}

// at asks at another address.
func at(address func(t *testing.T) string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		return networkError(t, address(t), func(*http.Transport) {}, w.CA())
	}
}

// listening does so with each connection.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

var provokedNetwork = map[string]provocation{
	"proxy-authentication": behind(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }),
	"tls-unknown-authority": func(t *testing.T, w *tenantWorld) string {
		return networkError(t, w.tokenURL(), func(*http.Transport) {}, nil)
	},
	"tls-expired": changing(func(tr *http.Transport) {
		tr.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(90, 0, 0) }
	}),
	"tls-wrong-name": changing(func(tr *http.Transport) { tr.TLSClientConfig.ServerName = "login.example.com" }),
	"tls-not-spoken": at(func(t *testing.T) string {
		return "https://" + listening(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	}),
	"connection-refused": at(func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "https://" + l.Addr().String()
	}),
	"dns-unknown-name": at(func(*testing.T) string { return "https://login.invalid" }),
	"foreign-page": failing("manage", "list", emulator.BadGateway, func(t *testing.T, w *tenantWorld) string {
		return networkError(t, w.feedURL(w.Tenant.ID, "subscriptions/list"), func(*http.Transport) {}, w.CA())
	}),
	"connection-lost": at(func(t *testing.T) string { return "https://" + listening(t, func(net.Conn) {}) }),
}
