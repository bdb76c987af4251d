package rotate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A hook of a policy is one of
//
//	command:/abs/path arg arg   a program, run without a shell
//	webhook:/abs/file           a file with the https URL to post to, and perhaps a key
//
// It is run at least once for each certificate that becomes the active one: killed in
// between, it is run again. What it is told is not secret.
type hook struct {
	command []string // the program's path, and its arguments
	file    string   // of a webhook
}

const (
	commandTime = 2 * time.Minute
	webhookTime = 30 * time.Second
	// commandWait is how long a command's output is waited for once it has ended: what
	// it left running may hold it open.
	commandWait = 2 * time.Second

	tailBytes = 4 << 10 // of a command's output that are looked at
	tailLines = 10      // of it that an error repeats

	webhookFileBytes = 8 << 10
	webhookAnswer    = 64 << 10 // bytes of an answer that are read, and thrown away
)

// ParseHook reports why a policy's hook cannot be run, as far as its text tells. It
// repeats nothing of what may be the URL of a webhook.
func ParseHook(s string) error {
	_, err := parseHook(s)
	return err
}

// CheckHook reports why a policy's hook could not be run here and now: its text, a program
// that is not there or may not be run, a webhook's file that cannot be used. Nothing is
// run or sent. It repeats nothing of what is in the file.
func CheckHook(s string) error {
	h, err := parseHook(s)
	switch {
	case err != nil:
		return err
	case h.file != "":
		if _, _, err := readWebhook(h.file); err != nil {
			return fmt.Errorf("the hook's file %s cannot be used: %w", h.file, err)
		}
		return nil
	}
	if _, err := exec.LookPath(h.command[0]); err != nil {
		if outer := (*exec.Error)(nil); errors.As(err, &outer) {
			err = outer.Err // which names the program once
		}
		return fmt.Errorf("the hook's program %s cannot be run by who runs reeve: %w", h.command[0], err)
	}
	return nil
}

func parseHook(s string) (hook, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return hook{}, errors.New("a hook is one line, without control characters")
	}
	kind, rest, _ := strings.Cut(s, ":")
	rest = strings.TrimSpace(rest)
	switch kind {
	case "command":
		if i := strings.IndexAny(rest, "\"'`$|&;<>"); i >= 0 {
			return hook{}, fmt.Errorf("the hook has %q, which would be for a shell, and none is run: put it into a script, and name that", rest[i])
		}
		words := strings.Fields(rest)
		if len(words) == 0 || !filepath.IsAbs(words[0]) {
			return hook{}, errors.New("the hook names no program by its absolute path: write command:/usr/local/bin/reload nginx, for example")
		}
		return hook{command: words}, nil
	case "webhook":
		if !filepath.IsAbs(rest) {
			return hook{}, errors.New("the hook names no file by its absolute path: write webhook:/etc/reeve/webhook, and the URL, which is secret, into that file")
		}
		return hook{file: filepath.Clean(rest)}, nil
	}
	return hook{}, errors.New("a hook is command:/PATH ARGUMENT..., or webhook:/FILE with the URL in that file")
}

// HookRunner runs the hooks of policies. Webhooks are posted to over the client's
// network.
func HookRunner(client *http.Client) func(ctx context.Context, hook string, d Deployment) (permanent bool, err error) {
	if client == nil {
		client = http.DefaultClient
	}
	poster := *client
	poster.Timeout, poster.Jar = webhookTime, nil
	poster.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(ctx context.Context, s string, d Deployment) (bool, error) {
		h, err := parseHook(s)
		switch {
		case err != nil:
			return true, err
		case h.file != "":
			return h.post(ctx, &poster, d)
		}
		return false, h.run(ctx, d)
	}
}

// run runs a command. The whole group of its processes is killed when its time is over.
func (h hook) run(ctx context.Context, d Deployment) error {
	doing := "running " + h.command[0]
	timed, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(timed, h.command[0], h.command[1:]...)
	cmd.Env = environ(d)
	if runtime.GOOS != "windows" {
		cmd.Dir = "/"
	}
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = commandWait
	killGroup(cmd)
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case timed.Err() != nil:
		err = fmt.Errorf("it was killed after %v", commandTime)
	}
	if text := said.String(); text != "" {
		return fmt.Errorf("%s: %w; it said last: %s", doing, err, text)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// environ is all that a command sees of an environment.
func environ(d Deployment) []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	var system []string
	if runtime.GOOS == "windows" { // without which little runs there
		root := os.Getenv("SystemRoot")
		path = filepath.Join(root, "System32") + ";" + root
		system = []string{"SystemRoot=" + root}
	}
	return append(system,
		"PATH="+path,
		"REEVE_CLIENT_ID="+d.ClientID,
		"REEVE_TENANT_ID="+d.TenantID,
		"REEVE_CREDENTIAL="+d.Credential,
		"REEVE_GENERATION="+strconv.FormatInt(d.Generation, 10),
		"REEVE_SHA1="+d.SHA1,
		"REEVE_SHA256="+d.SHA256,
		"REEVE_NOT_AFTER="+d.NotAfter.UTC().Format(time.RFC3339),
		"REEVE_TARGETS="+strings.Join(d.Targets, " "),
	)
}

// tail keeps the end of what is written to it.
type tail struct {
	kept []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if n := len(t.kept) - tailBytes; n > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[n:]...), true
	}
	return len(p), nil
}

var (
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN .*?(-----END [^\n-]*-----|\z)`)
	pemEnd   = regexp.MustCompile(`(?s)\A.*-----END [^\n-]*-----`)
	// longWord is what keys, tokens and their like look like without the PEM around.
	longWord = regexp.MustCompile(`[A-Za-z0-9+/=_-]{48,}`)
)

// String is the last lines, without what might be a key.
func (t *tail) String() string {
	text := strings.ToValidUTF8(string(t.kept), "?")
	if t.cut { // within a line, or within a key
		_, text, _ = strings.Cut(text, "\n")
	}
	text = pemBlock.ReplaceAllString(text, "<removed>")
	text = pemEnd.ReplaceAllString(text, "<removed>")
	text = longWord.ReplaceAllString(text, "<removed>")
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, line))
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], " | ")
}

// notification is what a webhook is told.
type notification struct {
	Event       string    `json:"event"`
	Application string    `json:"application"`
	ClientID    string    `json:"client_id"`
	TenantID    string    `json:"tenant_id"`
	Credential  string    `json:"credential"`
	Generation  int64     `json:"generation"`
	SHA1        string    `json:"sha1"`
	SHA256      string    `json:"sha256"`
	NotAfter    time.Time `json:"not_after"`
	Targets     []string  `json:"targets"`
}

// post posts to a webhook. The header X-Reeve-Event names the occasion, by which a
// receiver can tell a repetition; X-Reeve-Signature is "sha256=" and the HMAC-SHA256 of
// the body in hexadecimal, if the file has a key.
func (h hook) post(ctx context.Context, client *http.Client, d Deployment) (permanent bool, err error) {
	doing := "posting to the webhook of " + h.file
	target, key, err := readWebhook(h.file)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err) // somebody may mend the file
	}
	body, err := json.Marshal(notification{
		"certificate-active", d.Name, d.ClientID, d.TenantID, d.Credential, d.Generation, d.SHA1, d.SHA256, d.NotAfter.UTC(), append([]string{}, d.Targets...),
	})
	if err != nil {
		return true, fmt.Errorf("%s: %w", doing, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return true, fmt.Errorf("%s: the URL in it cannot be used", doing)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "reeve")
	req.Header.Set("X-Reeve-Event", fmt.Sprintf("certificate-active/%s/%d", d.Credential, d.Generation))
	if key != "" {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		req.Header.Set("X-Reeve-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := client.Do(req)
	if err != nil {
		// The error of net/http begins with the URL; what it wraps does not.
		if outer := (*url.Error)(nil); errors.As(err, &outer) {
			err = outer.Err
		}
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, webhookAnswer)
	code := resp.StatusCode
	err = fmt.Errorf("%s: it answered %s", doing, strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code))))
	switch {
	case code >= 200 && code <= 299:
		return false, nil
	case code >= 300 && code <= 399:
		return true, fmt.Errorf("%w, and redirects are not followed: write where it leads into the file", err)
	case code >= 400 && code <= 499 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return true, fmt.Errorf("%w: look at the URL and the key in the file", err)
	}
	return false, err
}

// readWebhook reads the file of a webhook: the URL in its first line, a key in the
// second, if there is one. Its errors repeat nothing of it.
func readWebhook(path string) (target *url.URL, key string, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, "", err
	case !info.Mode().IsRegular(): // a pipe would not end
		return nil, "", errors.New("it is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, "", err
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o027 != 0 { // Windows has lists, which its modes say nothing of
		return nil, "", fmt.Errorf("others can use the file, whose mode is %04o: chmod 0600 %s", mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, webhookFileBytes+1))
	if err != nil {
		return nil, "", err
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	second, rest, _ := strings.Cut(rest, "\n")
	if len(data) > webhookFileBytes || strings.TrimSpace(rest) != "" {
		return nil, "", errors.New("the file is too long, or has more than two lines: the URL, and the key of the signature")
	}
	target, err = url.Parse(strings.TrimSpace(first))
	if err != nil || target.Scheme != "https" || target.Hostname() == "" || target.Opaque != "" {
		return nil, "", errors.New("the file's first line is not a URL of the form https://HOST/PATH")
	}
	return target, strings.TrimSpace(second), nil
}
