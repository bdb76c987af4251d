package rotate

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

var deployed = Deployment{
	ClientID: "11111111-2222-3333-4444-555555555555", ObjectID: "o", TenantID: "66666666-7777-8888-9999-000000000000", Name: "Überwachung",
	Credential: "0199", Generation: 17, SHA1: "AB", SHA256: "CD", NotAfter: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
	Targets: []string{"directory:/etc/app", "keyvault:x"},
}

func TestParseHook(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"command:/bin/true":                       "",
		"command:/usr/bin/systemctl reload nginx": "",
		"command: /bin/true":                      "",
		"webhook:/etc/reeve/hook":                 "",
		"":                                        "a hook is",
		"/bin/true":                               "a hook is",
		"command:":                                "absolute path",
		"command:true":                            "absolute path",
		"command:./true":                          "absolute path",
		"command:/bin/sh -c 'x'":                  "no shell",
		"command:/bin/a|/bin/b":                   "for a shell",
		"command:/bin/echo $REEVE_SHA1":           "for a shell",
		"command:/bin/true\nx":                    "one line",
		"webhook:hook":                            "absolute path",
		"webhook:https://h.example/canary":        "into that file",
		"https://h.example/canary":                "a hook is",
		"mail:it@example.com":                     "a hook is",
	} {
		err := ParseHook(s)
		if want == "no shell" {
			want = "for a shell"
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", s, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", s, err, want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("%q: %v shows what may be secret", s, err)
		}
	}
}

// script writes a program, and gives the hook that runs it.
func script(t *testing.T, text string, args ...string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs are scripts of sh")
	}
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return strings.Join(append([]string{"command:" + path}, args...), " ")
}

func TestCommandIsToldTheFacts(t *testing.T) {
	t.Setenv("REEVE_AUTH_CLIENT_SECRET", "canary-secret")
	out := filepath.Join(t.TempDir(), "out")
	permanent, err := HookRunner(nil)(t.Context(), script(t, `{ pwd; echo "$1|$2|$3"; env | sort; } >"$1"`, out, "two"), deployed)
	if err != nil || permanent {
		t.Fatal(permanent, err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if name, _, ok := strings.Cut(line, "="); ok && (name == "PWD" || name == "_" || name == "SHLVL" || name == "OLDPWD") {
			continue // of the shell's own making
		}
		got = append(got, line)
	}
	want := []string{
		"/", out + "|two|",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"REEVE_CLIENT_ID=11111111-2222-3333-4444-555555555555",
		"REEVE_CREDENTIAL=0199",
		"REEVE_GENERATION=17",
		"REEVE_NOT_AFTER=2027-01-02T03:04:05Z",
		"REEVE_SHA1=AB",
		"REEVE_SHA256=CD",
		"REEVE_TARGETS=directory:/etc/app keyvault:x",
		"REEVE_TENANT_ID=66666666-7777-8888-9999-000000000000",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCommandFails(t *testing.T) {
	t.Parallel()
	const line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCanary0123456"
	for _, test := range []struct{ name, script, want string }{
		{"with its last lines", "seq 1 2000; echo it is >&2; echo broken; exit 3", "exit status 3; it said last: 1993 | 1994 | 1995 | 1996 | 1997 | 1998 | 1999 | 2000 | it is | broken"},
		{"silent", "exit 1", "exit status 1"},
		{"with a key", "echo before; printf '%s\\n' '-----BEGIN PRIVATE KEY-----' " + line + " '-----END PRIVATE KEY-----'; echo after; exit 1", "before | <removed> | after"},
		{"with half a key", "echo before; printf '%s\\n' '-----BEGIN PRIVATE KEY-----' " + line + "; exit 1", "before | <removed>"},
		{"with the end of a key", "printf '%s\\n' " + line + " '-----END PRIVATE KEY-----'; echo after; exit 1", "<removed> | after"},
		{"with a key beyond what is kept", "echo '-----BEGIN PRIVATE KEY-----'; for i in $(seq 200); do echo " + line + "; done; exit 1", "<removed>"},
		{"with a line that does not end", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", "exit status 1"},
		{"with control characters", "printf 'a\\033[31m\\001b\\377'; exit 1", "a [31m b?"},
		{"killed", "kill -9 $$", "signal: killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			permanent, err := HookRunner(nil)(t.Context(), script(t, test.script), deployed)
			if err == nil || permanent || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, permanent %t; want %q", err, permanent, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "anary") || len(err.Error()) > 6000) {
				t.Errorf("%v", err)
			}
		})
	}
	if permanent, err := HookRunner(nil)(t.Context(), "command:/nowhere/at/all", deployed); err == nil || permanent {
		t.Errorf("a program that is not there: %t, %v", permanent, err)
	}
	if permanent, err := HookRunner(nil)(t.Context(), "command:relative", deployed); err == nil || !permanent {
		t.Errorf("a hook that is none: %t, %v", permanent, err)
	}
}

// A command that hangs is killed with what it has started; one that leaves a program
// running in the background is done all the same.
func TestCommandEndsInTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	hang := script(t, `sleep 100 & echo $! >`+file+`.new; mv `+file+`.new `+file+`; wait`)
	ended := make(chan error, 1)
	go func() {
		_, err := HookRunner(nil)(ctx, hang, deployed)
		ended <- err
	}()
	var pid string
	for range 1000 {
		if data, err := os.ReadFile(file); err == nil {
			pid = strings.TrimSpace(string(data))
			break
		}
		pause(t)
	}
	cancel()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "canceled") {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not killed")
	}
	for range 1000 {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			pid = ""
			break
		}
		pause(t)
	}
	if pid != "" && runtime.GOOS == "linux" {
		t.Errorf("process %s, which it has started, still runs", pid)
	}

	begin := time.Now()
	if _, err := HookRunner(nil)(t.Context(), script(t, `sleep 20 & exit 0`), deployed); err != nil || time.Since(begin) > 15*time.Second {
		t.Errorf("with a program in the background: %v after %v", err, time.Since(begin))
	}
}

func pause(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(10 * time.Millisecond):
	}
}

// webhookServer serves TLS, and gives the client that trusts it.
func webhookServer(t *testing.T, h http.HandlerFunc) (*httptest.Server, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, s.Client()
}

// webhookFile writes the file of a webhook, and gives its hook.
func webhookFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return "webhook:" + path
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	var header http.Header
	var body []byte
	s, client := webhookServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.RequestURI != "/canary?sig=canary" {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	run := HookRunner(client)
	if permanent, err := run(t.Context(), webhookFile(t, s.URL+"/canary?sig=canary\r\nthe key\n", 0o600), deployed); err != nil || permanent {
		t.Fatal(permanent, err)
	}
	mac := hmac.New(sha256.New, []byte("the key"))
	mac.Write(body)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Reeve-Event": "certificate-active/0199/17",
		"X-Reeve-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var got, want any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	json.Unmarshal([]byte(`{"event":"certificate-active","application":"Überwachung","client_id":"11111111-2222-3333-4444-555555555555",
		"tenant_id":"66666666-7777-8888-9999-000000000000","credential":"0199","generation":17,"sha1":"AB","sha256":"CD",
		"not_after":"2027-01-02T03:04:05Z","targets":["directory:/etc/app","keyvault:x"]}`), &want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := run(t.Context(), webhookFile(t, s.URL+"/canary?sig=canary", 0o640), deployed); err != nil || header.Get("X-Reeve-Signature") != "" {
		t.Errorf("without a key: %v, %v", err, header)
	}
}

func TestWebhookFails(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bool{302: true, 307: true, 400: true, 401: true, 404: true, 410: true, 408: false, 429: false, 500: false, 503: false} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			calls := 0
			s, client := webhookServer(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(code)
				io.WriteString(w, r.RequestURI)
			})
			permanent, err := HookRunner(client)(t.Context(), webhookFile(t, s.URL+"/canary", 0o600), deployed)
			if err == nil || permanent != want || calls != 1 || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, permanent %t, after %d calls", err, permanent, calls)
			}
		})
	}
	s, client := webhookServer(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, test := range map[string]struct{ hook, want string }{
		"no answer":    {webhookFile(t, s.URL+"/canary", 0o600), "EOF"},
		"no TLS":       {webhookFile(t, "http://127.0.0.1/canary", 0o600), "https://HOST"},
		"no URL":       {webhookFile(t, "canary %zz", 0o600), "https://HOST"},
		"three lines":  {webhookFile(t, s.URL+"/canary\nkey\ncanary", 0o600), "more than two lines"},
		"empty":        {webhookFile(t, "", 0o600), "https://HOST"},
		"too long":     {webhookFile(t, s.URL+"/canary"+strings.Repeat("x", 10000), 0o600), "more than two lines"},
		"a folder":     {"webhook:" + t.TempDir(), "not a file"},
		"not there":    {"webhook:" + filepath.Join(t.TempDir(), "nothing"), "no such file"},
		"others' read": {webhookFile(t, s.URL+"/canary", 0o644), "chmod 0600"},
	} {
		if runtime.GOOS == "windows" && (name == "others' read" || name == "not there") {
			continue // there it is said in other words, or not at all
		}
		permanent, err := HookRunner(client)(t.Context(), test.hook, deployed)
		if err == nil || permanent || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, permanent %t", name, err, permanent)
		}
	}
	if _, err := HookRunner(nil)(t.Context(), webhookFile(t, s.URL+"/canary", 0o600), deployed); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that is not trusted: %v", err)
	}
}

// TestHookIsRunForANewCertificate renews under a policy with a command that fails once.
func TestHookIsRunForANewCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	hook := script(t, `test -e "$1.once" || { touch "$1.once"; echo not yet; exit 1; }; echo "$REEVE_GENERATION $REEVE_SHA256" >>"$1"`, out)
	w := newWorld(t)
	w.change = func(o *Options) { o.RunHook = HookRunner(nil) }
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Policy.Hooks = []string{hook} })
	adopted, _ := w.app().Active()
	if _, err := w.db.AddWish(t.Context(), w.tenant, w.object, credential.Wish{Kind: credential.Renew, By: "test", At: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	failed := false
	w.until(r, time.Hour, "the command to be run", func(a credential.Application) bool {
		for _, d := range a.Deploys {
			failed = failed || strings.Contains(d.Error, "exit status 1; it said last: not yet")
		}
		active, _ := a.Active()
		return active.ID != adopted.ID && len(a.Deploys) == 0
	})
	active, _ := w.app().Active()
	data, err := os.ReadFile(out)
	if want := fmt.Sprintf("%d %s\n", active.Generation, active.SHA256); err != nil || string(data) != want || !failed {
		t.Errorf("it was told %q (%v), want %q; it failed first: %t", data, err, want, failed)
	}
}

// TestHookThatEndsReeve renews under a policy with a command that ends the process each
// time, as one does that restarts reeve: it is run again, and not without a pause.
func TestHookThatEndsReeve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ctx context.Context
	kill := func() {}
	runs := 0
	w.change = func(o *Options) {
		o.RunHook = func(context.Context, string, Deployment) (bool, error) {
			runs++
			kill()
			return false, nil
		}
	}
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Policy.Hooks = []string{"command:/bin/true"} })
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	w.wish(r, credential.Promote, "")
	for range 5 {
		ctx, kill = context.WithCancel(t.Context())
		w.rotator().Pass(ctx)
	}
	kill()
	if runs != 1 {
		t.Errorf("it was run %d times within a moment", runs)
	}
	if d := w.app().Deploys; len(d) != 1 || d[0].Attempts != 1 || !d[0].DueAt.After(w.clock.Now()) {
		t.Errorf("what is recorded of it: %+v", d)
	}
	w.clock.Add(time.Minute)
	ctx, kill = context.WithCancel(t.Context())
	defer kill()
	w.rotator().Pass(ctx)
	if runs != 2 {
		t.Errorf("a minute later it has been run %d times, not twice", runs)
	}
}

// TestHookIsGivenUp renews under a policy with a command that can never succeed, whose
// text is not fit to be part of an event's ID: it is given up, and told.
func TestHookIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"command:/bin/reload nginx", "command:/bin/" + strings.Repeat("x", 300)} {
		w := newWorld(t)
		runs := 0
		w.change = func(o *Options) {
			o.RunHook = func(context.Context, string, Deployment) (bool, error) {
				runs++
				return true, errors.New("there is no such program")
			}
		}
		r := w.rotator()
		w.adopt(r, func(a *Adoption) { a.Policy.Hooks = []string{hook} })
		w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
		w.wish(r, credential.Promote, "")
		for range 3 {
			if _, err := r.Pass(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if d := w.app().Deploys; runs != 1 || len(d) != 0 {
			t.Errorf("%.30s was run %d times, and still to be done is %+v", hook, runs, d)
		}
	}
}

// TestHookIsDropped takes a hook that fails out of the policy, and revokes the certificate
// that it is to be run for: it is not run again, and the journal says why.
func TestHookIsDropped(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string]func(*world, *Rotator){
		"not in the policy any more": func(w *world, _ *Rotator) { w.changePolicy(func(p *credential.Policy) { p.Hooks = nil }) },
		"not in use any more":        func(w *world, r *Rotator) { w.wish(r, credential.Revoke, "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			runs := map[string]int{}
			w.change = func(o *Options) {
				o.RunHook = func(_ context.Context, _ string, d Deployment) (bool, error) {
					runs[d.Credential]++
					return false, errors.New("not yet")
				}
			}
			r := w.rotator()
			w.adopt(r, func(a *Adoption) { a.Policy.Hooks = []string{"command:/bin/reload"} })
			w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
			w.wish(r, credential.Promote, "")
			w.until(r, time.Hour, "the hook to have failed", func(a credential.Application) bool { return len(a.Deploys) > 0 && a.Deploys[0].Attempts > 1 })
			c, _ := w.app().Active()
			before := runs[c.ID]
			drop(w, r)
			if _, err := r.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(w.app().Deploys, func(d credential.Deploy) bool { return d.Credential == c.ID }) || runs[c.ID] != before {
				t.Errorf("it was run %d times more, and still to be done is %+v", runs[c.ID]-before, w.app().Deploys)
			}
			if w.journal(c.ID, string(credential.Deliver), store.Seen) != 1 {
				t.Errorf("the journal does not say that it was dropped\n%s", w.describe())
			}
		})
	}
}
