package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// The emulated tenant runs in a process of its own, so that its work does not
// count. It holds the corpus in memory and serves it several times over: once
// for each latency.

// serve runs the tenant until its standard input ends. It first writes, as one
// line, the variables by which a client finds each latency, and then for each
// line that it reads the requests answered since the last one, by operation.
func serve(j job, in io.Reader, out io.Writer) error {
	t, err := tenant.New(tenant.Options{Seed: 1, Calm: true})
	if err != nil {
		return err
	}
	if err := corpus(j.Corpus).each(func(head blobHead, body []byte) error {
		t.Audit.AddBlob(head.ContentType, head.Created, bytes.Clone(body))
		return nil
	}); err != nil {
		return err
	}
	counted := &requestCounter{counts: map[string]int{}}
	var variables [][]string
	for i, latency := range j.Latencies {
		e, err := emulator.Start(emulator.Options{Tenant: t, Calm: true, Latency: latency, Log: slog.New(counted)})
		if err != nil {
			return err
		}
		defer e.Close()
		v, err := e.WriteClient(filepath.Join(j.Dir, fmt.Sprint("tenant", i)))
		if err != nil {
			return err
		}
		variables = append(variables, v)
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(variables); err != nil {
		return err
	}
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		if err := answers.Encode(counted.take()); err != nil {
			return err
		}
	}
	return questions.Err()
}

// requestCounter is the handler of the emulator's log. It counts the requests in
// it by their operation and drops everything else.
type requestCounter struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *requestCounter) Enabled(context.Context, slog.Level) bool { return true }
func (c *requestCounter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *requestCounter) WithGroup(string) slog.Handler            { return c }

func (c *requestCounter) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "request" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "operation" {
			c.mu.Lock()
			c.counts[a.Value.String()]++
			c.mu.Unlock()
		}
		return true
	})
	return nil
}

func (c *requestCounter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	c.counts = map[string]int{}
	return counts
}

// A server is the process that serves the emulated tenant, seen from outside.
type server struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	variables [][]string // for each latency
}

// startServer returns when the tenant can be reached.
func startServer(ctx context.Context, exe string, c corpus, dir string, latencies []time.Duration) (*server, error) {
	line, err := job{Part: "serve", Corpus: string(c), Dir: dir, Latencies: latencies}.line()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, exe, "part")}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err = s.in.Write(line); err == nil {
		err = s.read(&s.variables)
	}
	if err != nil {
		return nil, fmt.Errorf("starting the emulated tenant: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *server) read(v any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// requests gives how many requests were answered since it was last asked, by
// operation.
func (s *server) requests() (counts map[string]int, err error) {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return nil, err
	}
	return counts, s.read(&counts)
}

// Close ends the process.
func (s *server) Close() error {
	s.in.Close()
	return s.cmd.Wait()
}
