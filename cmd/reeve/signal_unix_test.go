//go:build unix

package main

import (
	"bufio"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHangup closes the terminal on an emulated tenant, and takes away the reader
// of its output: it is kept, and its private keys are not left behind.
func TestHangup(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored, as under nohup, and so it is by what is started here")
	}
	for _, how := range []string{"signal", "pipe"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dir := t.TempDir()
		state, temporary := filepath.Join(dir, "state.json"), filepath.Join(dir, "tmp")
		if err := os.Mkdir(temporary, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := reeve(ctx, nil, "emulate", "--state", state, "--calm", "--users", "1", "--days", "1", "--per-user", "1")
		cmd.Env = append(cmd.Env, "TMPDIR="+temporary)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		cmd.Stdout, cmd.Stderr = write, write
		if how == "pipe" {
			read.Close()
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		write.Close()
		if how == "signal" {
			ready := false
			for lines := bufio.NewScanner(read); !ready && lines.Scan(); {
				ready = strings.Contains(lines.Text(), "is ready")
			}
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil || !ready {
				t.Errorf("ready: %v, %v", ready, err)
			}
		}
		err = cmd.Wait()
		if status := cmd.ProcessState; !status.Exited() {
			t.Errorf("%s: %v", how, err)
		}
		if _, err := os.Stat(state); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind are %v (%v)", how, left, err)
		}
	}
}
