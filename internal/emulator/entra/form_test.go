package entra_test

import (
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
)

func FuzzTokenForm(f *testing.F) {
	w := start(f)
	w.platforms(f)
	good := w.bySecret(f)
	for _, seed := range []url.Values{
		good, with(good, "scope", "%zz"), with(good, "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`),
		{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {"x"}},
		{"grant_type": {"authorization_code"}, "client_id": {w.app.AppID}, "code": {"x"}},
		{"grant_type": {"device_code"}, "client_id": {w.app.AppID}, "device_code": {"x"}},
	} {
		f.Add(seed.Encode())
	}
	f.Add("%")
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{w.v2("token"), w.v1("token"), w.v2("devicecode")} {
			a := w.serve("POST", path, body)
			if a.Code >= 500 && a.Code != 501 || a.Code == 200 && !strings.Contains(a.Body.String(), "_code") && !strings.Contains(a.Body.String(), "access_token") {
				t.Errorf("%s with %q gives %d %s", path, body, a.Code, a.Body)
			}
		}
	})
}

func FuzzAuthorize(f *testing.F) {
	w := start(f)
	w.platforms(f)
	f.Add(w.question(webRedirect).Encode(), "user="+url.QueryEscape(w.admin))
	f.Add(w.question(pageRedirect, "response_mode", "fragment", "state", "\r\n<b>").Encode(), "user="+w.admin+"&decision=consent")
	f.Add("redirect_uri=http://localhost:1/&client_id=%zz", "%")
	f.Fuzz(func(t *testing.T, query, body string) {
		if _, err := url.ParseRequestURI("/x?" + query); err != nil || strings.ContainsAny(query, " #\t\r\n\x7f\x00") {
			return
		}
		for _, path := range []string{w.v2("authorize"), "/common/adminconsent"} {
			for method, body := range map[string]string{"GET": "", "POST": body} {
				a := w.serve(method, path+"?"+query, body)
				if a.Code >= 500 {
					t.Errorf("%s %s?%s gives %d", method, path, query, a.Code)
				}
				target := a.Header().Get("Location")
				registered := strings.HasPrefix(target, webRedirect+"?") || strings.HasPrefix(target, pageRedirect) ||
					strings.HasPrefix(target, "http://localhost") || strings.HasPrefix(target, "http://127.0.0.1")
				if target != "" && !registered {
					t.Errorf("sent to %s", target)
				}
				if text := a.Body.String(); strings.Contains(text, "<b>") || strings.Contains(text, "<script") {
					t.Errorf("the page holds what the query said: %s", text)
				}
			}
		}
	})
}

// BenchmarkToken asks for tokens by certificate over TLS, over connections that
// are kept, with the client on the same machine. tokens/s is what counts.
func BenchmarkToken(b *testing.B) {
	w := start(b)
	w.client.Transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	form := w.byAssertion(w.goodAssertion().mustSign(b))
	var failed atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := w.post(b, w.v2("token"), form, "client-request-id", uuid.NewString()); a.Status != 200 {
				failed.Add(1)
			}
		}
	})
	if n := failed.Load(); n > 0 {
		b.Errorf("%d requests were refused", n)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
