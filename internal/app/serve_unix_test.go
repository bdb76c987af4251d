//go:build unix

package app

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServeEndsAtSIGTERM ends a process while a certificate is being made and a program
// waits at the feed.
func TestServeEndsAtSIGTERM(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "reeve", "serve")
	p := &process{t: t, done: make(chan struct{})}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(s.environ, "GORACE=atexit_sleep_ms=0"), t.TempDir(), &p.out, &p.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
	}()
	page := s.page(p)
	s.until("a certificate that is being made", time.Minute, func() bool { return len(s.own().Credentials) > 1 })
	_, token, _ := s.consumers("add", s.own().Name, "--name", "waiting")
	url := page + "/v1/applications/" + s.own().ClientID + "/credential"
	if code, text := s.get(url, strings.TrimSpace(token)); code != 200 {
		t.Fatalf("the feed: %d %s", code, text)
	}
	active, _ := s.own().Active()
	ended := make(chan int, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s?wait=60s&generation=%d", url, active.Generation), nil)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				ended <- resp.StatusCode
				return
			}
		}
		ended <- 0
	}()
	p.stop = func() { cmd.Process.Signal(syscall.SIGTERM) }
	p.end()
	if code := <-ended; code != 503 && code != 0 { // the connection may not have been made yet
		t.Errorf("who waited was answered %d", code)
	}
}
