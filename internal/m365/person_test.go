package m365_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
)

// brief makes device codes expire within a second, for who asked for them.
type brief struct {
	inner http.RoundTripper
	slow  bool // an answer to whether the code was entered takes longer than that
}

func (b brief) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.slow && strings.HasSuffix(r.URL.Path, "/token") {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	resp, err := b.inner.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/devicecode") {
		return resp, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	data = regexp.MustCompile(`"expires_in":\d+`).ReplaceAll(data, []byte(`"expires_in":1`))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	resp.Header.Del("Content-Length")
	return resp, err
}

// Why no token came of a code is told, which the SDK does not do.
func TestPersonRefused(t *testing.T) {
	t.Parallel()
	w := emulatortest.Start(t, nil)
	for name, c := range map[string]struct {
		code     int
		decision string
		client   *http.Client
	}{
		"declined":                   {70017, "decline", w.HTTPClient()},
		"expired":                    {70019, "", &http.Client{Transport: brief{w.HTTPClient().Transport, false}}},
		"expired while it was asked": {70019, "", &http.Client{Transport: brief{w.HTTPClient().Transport, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := m365.NewPerson(cloudOf(t, w.Emulator), "", c.client, func(message string) {
				code := regexp.MustCompile(`[A-Z0-9]{9}`).FindString(message)
				if c.decision != "" {
					w.Do(t, http.MethodPost, w.Origins().Control+"/devicecodes/"+code+"/"+c.decision, "", "Authorization", "Bearer "+w.Control())
				}
			}, "User.Read")
			if err != nil {
				t.Fatal(err)
			}
			_, err = who.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphResource + "/.default"}})
			var refused *m365.SignInError
			if !errors.As(err, &refused) || !refused.Has(c.code) {
				t.Fatalf("%v", err)
			}
			if x, ok := refused.Explanation(); !ok || x.Remedy == "" {
				t.Errorf("nothing explains %v", err)
			}
		})
	}
}
