package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// tenantOptions are the flags that describe an emulated tenant.
type tenantOptions struct {
	tenant.Options
	records string
	latency time.Duration
}

func (o *tenantOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Uint64Var(&o.Seed, "seed", 1, "the same seed makes the same tenant")
	f.IntVar(&o.Users, "users", 60, "how many people work in the tenant")
	f.IntVar(&o.Days, "days", 5, "how many days back its audit log reaches, 1 to 7")
	f.IntVar(&o.PerUser, "per-user", 60, "audit records of a person on a working day, on average")
	f.BoolVar(&o.Calm, "calm", false, "no throttling, nothing late, repeated, reordered or broken")
	f.StringVar(&o.records, "audit-records", "", "serve the audit records of this file, one JSON object a line, instead of invented ones")
	f.DurationVar(&o.latency, "latency", 0, "make every answer take so much longer")
	cmd.MarkFlagFilename("audit-records", "jsonl")
}

// start makes the tenant and serves it on loopback.
func (o *tenantOptions) start() (*emulator.Emulator, *tenant.Tenant, error) {
	if o.Days < 1 || o.Days > 7 {
		return nil, nil, failWith(exitUsage, "--days %d: the audit log is kept for 1 to 7 days", o.Days)
	}
	if o.Users < 1 || o.Users > 1_000_000 {
		return nil, nil, failWith(exitUsage, "--users %d: there must be 1 to 1,000,000", o.Users)
	}
	if o.PerUser < 1 || o.PerUser > 100_000 {
		return nil, nil, failWith(exitUsage, "--per-user %d: there must be 1 to 100,000", o.PerUser)
	}
	t, err := tenant.New(o.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("making the emulated tenant: %w", err)
	}
	if o.records != "" {
		f, err := os.Open(o.records)
		if err != nil {
			return nil, nil, failWith(exitUsage, "--audit-records: %w", err)
		}
		defer f.Close()
		if err := t.Audit.UseRecords(f); err != nil {
			return nil, nil, failWith(exitUsage, "--audit-records %s: %w", o.records, err)
		}
	}
	e, err := emulator.Start(emulator.Options{Tenant: t, Calm: o.Calm, Seed: o.Seed, Latency: o.latency})
	if err != nil {
		return nil, nil, fmt.Errorf("starting the emulated tenant: %w", err)
	}
	return e, t, nil
}

func emulateCommand(p *program) *cobra.Command {
	var o tenantOptions
	var envFile, dir string
	cmd := &cobra.Command{
		Use: "emulate", GroupID: "main",
		Short: "Serve an emulated Microsoft 365 tenant on loopback, for any client",
		Long: `emulate serves the parts of Microsoft's cloud that reeve talks to: Entra sign-in,
the Management Activity API, and what signing in needs of Graph and Key Vault,
each on a port of its own on 127.0.0.1, over HTTPS with a certificate authority
made for this run. It is no place for real data, and it is gone when it ends.

With --env-file it writes shell variables by which any client finds it. The
file appears when the tenant is ready.`,
		Example: `  reeve emulate --env-file /tmp/tenant.env &
  . /tmp/tenant.env && REEVE_DATABASE_URL=sqlite:/tmp/t.db reeve import run --once
  reeve emulate --audit-records export.jsonl --env-file /tmp/tenant.env`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if dir == "" {
				if dir, err = os.MkdirTemp("", "reeve-tenant-"); err != nil {
					return err
				}
				defer os.RemoveAll(dir)
			}
			if envFile != "" {
				// Whoever waits for the file must not find that of an earlier tenant.
				if err := os.Remove(envFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return failWith(exitUsage, "--env-file: %w", err)
				}
				defer os.Remove(envFile)
			}
			e, t, err := o.start()
			if err != nil {
				return err
			}
			defer e.Close()
			variables, err := e.WriteClient(dir)
			if err != nil {
				return err
			}
			text := emulator.ShellExports(variables)
			fmt.Fprintf(p.Err, "The emulated tenant %s (%s) is ready; the certificates are in %s.\n", t.DisplayName, t.ID, dir)
			if envFile == "" {
				fmt.Fprint(p.Out, text)
			} else if err := writeWhole(envFile, text); err != nil {
				return err
			} else {
				fmt.Fprintf(p.Err, "Point a client at it:  . %s\n", envFile)
			}
			<-cmd.Context().Done()
			for _, f := range e.Faults() {
				if f.Happened > 0 {
					fmt.Fprintf(p.Err, "fault: %s of %s, %d of %d calls\n", f.Fault.Kind, f.Fault.API, f.Happened, f.Matched)
				}
			}
			if err := context.Cause(cmd.Context()); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&envFile, "env-file", "", "write shell variables for clients to this file, instead of printing them")
	cmd.Flags().StringVar(&dir, "dir", "", "write the certificates here, and leave them (default a temporary folder, removed at the end)")
	cmd.MarkFlagFilename("env-file")
	cmd.MarkFlagDirname("dir")
	return cmd
}

// writeWhole writes a file that others may be waiting for: it appears complete.
// It can be read by its owner only, since the variables name a password.
func writeWhole(path, text string) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, []byte(text), fs.FileMode(0o600)); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
