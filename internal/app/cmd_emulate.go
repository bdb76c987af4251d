package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/origin"
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

func (o *tenantOptions) check() error {
	if o.Days < 1 || o.Days > 7 {
		return failWith(exitUsage, "--days %d: the audit log is kept for 1 to 7 days", o.Days)
	}
	if o.Users < 1 || o.Users > 1_000_000 {
		return failWith(exitUsage, "--users %d: there must be 1 to 1,000,000", o.Users)
	}
	if o.latency < 0 {
		return failWith(exitUsage, "--latency %s: there is no answer before its question", o.latency)
	}
	if o.PerUser < 1 || o.PerUser > 100_000 {
		return failWith(exitUsage, "--per-user %d: there must be 1 to 100,000", o.PerUser)
	}
	return nil
}

// start makes a new tenant and serves it on loopback.
func (o *tenantOptions) start() (*emulator.Emulator, *tenant.Tenant, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	t, err := tenant.New(o.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("making the emulated tenant: %w", err)
	}
	return o.serve(t, emulator.Options{})
}

// serve serves a tenant as further options say.
func (o *tenantOptions) serve(t *tenant.Tenant, with emulator.Options) (*emulator.Emulator, *tenant.Tenant, error) {
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
	with.Tenant, with.Calm, with.Seed, with.Latency = t, o.Calm, o.Seed, o.latency
	e, err := emulator.Start(with)
	switch {
	case errors.Is(err, emulator.ErrOptions):
		return nil, nil, failWith(exitUsage, "%w", err)
	case err != nil:
		return nil, nil, err
	}
	return e, t, nil
}

// emulateOptions are the flags of reeve emulate.
type emulateOptions struct {
	tenantOptions
	how     emulator.Options
	faults  []string
	delays  string
	verbose bool
	envFile string
	dir     string
}

func (o *emulateOptions) flags(cmd *cobra.Command) {
	o.tenantOptions.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.envFile, "env-file", "", "write shell variables for clients to this file, instead of printing them")
	f.StringVar(&o.dir, "dir", "", "write the certificates here, and leave them (default a temporary folder, removed at the end)")
	f.StringVar(&o.how.StateFile, "state", "", "keep the tenant in this file: read at the start if it is there, written at the end")
	f.StringVar(&o.how.Cloud, "cloud", "", "whose hosts the tenant is in: public, usgov, usgovdod or china (default public)")
	f.StringVar(&o.how.Listen, "listen", "", "IP:port of the first API; the others follow on the next ports (default free ports of 127.0.0.1)")
	f.StringVar(&o.how.Proxy, "proxy", "", "IP:port of a proxy that leads from the hosts of Microsoft's cloud to the tenant, and nowhere else")
	f.BoolVar(&o.how.Expose, "expose-to-network", false, "let --listen and --proxy leave loopback: anybody who gets there gets tokens and private keys")
	f.StringArrayVar(&o.faults, "fault", nil, "let something go wrong: [API[/OPERATION]:]KIND[,every=N][,times=N][,after=N][,delay=1s]... (repeatable)")
	f.StringArrayVar(&o.how.Grants, "grant", nil, "give the demo application more: graph/Application.ReadWrite.All, vault/certificates/all (repeatable)")
	f.StringVar(&o.delays, "delays", "", "how far replicas lag: none, usual, or such as reads=0s-30s,keys=4s-60s,roles=10s-3m,vault=1m-10m")
	f.BoolVar(&o.how.RefuseReplay, "refuse-replay", false, "refuse a client assertion that was used before")
	f.BoolVar(&o.verbose, "log-requests", false, "log every request, not only what is not emulated")
	cmd.MarkFlagFilename("env-file")
	cmd.MarkFlagFilename("state", "json")
	cmd.MarkFlagDirname("dir")
}

// read checks the flags, as far as that needs no tenant.
func (o *emulateOptions) read(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	for _, name := range []string{"state", "env-file", "dir"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return failWith(exitUsage, "--%s: the name is empty", name)
		}
	}
	for _, text := range o.faults {
		fault, err := origin.ParseFault(text)
		if err != nil {
			return failWith(exitUsage, "--fault: %w", err)
		}
		o.how.Faults = append(o.how.Faults, fault)
	}
	if cmd.Flags().Changed("delays") {
		d, err := origin.ParseDelays(o.delays)
		if err != nil {
			return failWith(exitUsage, "--delays: %w", err)
		}
		o.how.Delays = &d
	}
	return nil
}

// start serves the tenant of the state file, or a new one.
func (o *emulateOptions) start(cmd *cobra.Command, log *slog.Logger) (*emulator.Emulator, *tenant.Tenant, error) {
	o.how.Log = log
	t, err := o.makeTenant(cmd)
	if err != nil {
		return nil, nil, err
	}
	return o.serve(t, o.how)
}

// makeTenant makes the tenant of the state file, or a new one.
func (o *emulateOptions) makeTenant(cmd *cobra.Command) (*tenant.Tenant, error) {
	if o.how.StateFile != "" {
		state, err := emulator.ReadState(o.how.StateFile)
		switch {
		case err == nil:
			return o.resume(cmd, state)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, failWith(exitUsage, "--state: %w", err)
		}
	}
	t, err := tenant.New(o.Options)
	if err != nil {
		return nil, fmt.Errorf("making the emulated tenant: %w", err)
	}
	return t, nil
}

// resume makes a saved tenant again. It is what it was made of: a flag that says
// otherwise is refused.
func (o *emulateOptions) resume(cmd *cobra.Command, state *emulator.State) (*tenant.Tenant, error) {
	t, err := state.Tenant(nil)
	if err != nil {
		return nil, failWith(exitUsage, "--state %s: %w", o.how.StateFile, err)
	}
	was := t.Options()
	for _, flag := range []struct {
		name     string
		was, now any
	}{
		{"seed", was.Seed, o.Seed}, {"users", was.Users, o.Users}, {"days", was.Days, o.Days},
		{"per-user", was.PerUser, o.PerUser}, {"calm", was.Calm, o.Calm},
	} {
		if cmd.Flags().Changed(flag.name) && flag.was != flag.now {
			return nil, failWith(exitUsage, "--%s %v: the tenant in %s was made with %v; leave the flag out, or name another file", flag.name, flag.now, o.how.StateFile, flag.was)
		}
	}
	o.how.State = state
	o.Seed, o.Calm = was.Seed, was.Calm
	return t, nil
}

func emulateCommand(p *program) *cobra.Command {
	var o emulateOptions
	cmd := &cobra.Command{
		Use: "emulate", GroupID: "main",
		Short: "Serve an emulated Microsoft 365 tenant on loopback, for any client",
		Long: `emulate serves the parts of Microsoft's cloud that have to do with certificates
and the audit log: Entra sign-in, Microsoft Graph's applications, Key Vault, the
Management Activity API, Azure Monitor's queries, and a managed identity. Each has
a port of its own on 127.0.0.1, HTTPS with a certificate authority made for this
tenant. It is not Microsoft's, its people do not exist, and it is no place for real
data. Without --state it is gone when it ends.

With --env-file it writes shell variables by which any client finds it. The file
appears when the tenant is ready. A client that has Microsoft's hosts built in
comes through --proxy: HTTPS_PROXY=$PROXY_URL client.

The variables CONTROL_URL and CONTROL_TOKEN lead to an API by which faults are
injected, the clock is stepped and calls are listed while it runs:
  curl -H "Authorization: Bearer $CONTROL_TOKEN" $CONTROL_URL/calls`,
		Example: `  reeve emulate --env-file /tmp/tenant.env &
  . /tmp/tenant.env && REEVE_DATABASE_URL=sqlite:/tmp/t.db reeve import run --once
  reeve emulate --state tenant.json --listen 127.0.0.1:9430 --proxy 127.0.0.1:9440
  reeve emulate --grant graph/Application.ReadWrite.All --grant vault/certificates/all
  reeve emulate --fault graph/addKey:lost-response,every=3 --fault vault:throttle,times=5
  reeve emulate --audit-records export.jsonl --env-file /tmp/tenant.env`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.emulate(cmd, &o) },
	}
	o.flags(cmd)
	return cmd
}

func (p *program) emulate(cmd *cobra.Command, o *emulateOptions) (err error) {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(p.Err, &slog.HandlerOptions{Level: level}))
	// A reader of our output that goes away, as head does, must not end us before
	// the private keys are removed.
	signal.Ignore(syscall.SIGPIPE)
	if err := o.read(cmd); err != nil {
		return err
	}
	if o.envFile != "" {
		// Whoever waits for the file must not find that of an earlier tenant.
		if err := removeVariables(o.envFile, nil); err != nil {
			return failWith(exitUsage, "--env-file: %w", err)
		}
	}
	e, t, err := o.start(cmd, log)
	if err != nil {
		return err
	}
	defer func() {
		// Saved last, when nothing changes any more.
		closed := e.Close()
		if o.how.StateFile != "" {
			closed = errors.Join(closed, e.Save())
		}
		if err == nil {
			err = closed
		}
	}()
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "reeve-tenant-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	variables, err := e.WriteClient(o.dir)
	if err != nil {
		return err
	}
	text := emulator.ShellExports(variables)
	if o.envFile == "" {
		if _, err := fmt.Fprint(p.Out, text); err != nil {
			return fmt.Errorf("printing the variables: %w", err)
		}
	} else {
		text = variablesMark + text
		if err := emulator.WritePrivate(o.envFile, []byte(text)); err != nil {
			return failWith(exitUsage, "--env-file: %w", err)
		}
		defer removeVariables(o.envFile, []byte(text))
	}
	// It says that the file is there.
	if _, err := fmt.Fprint(p.Err, o.introduction(e, t)); err != nil {
		return fmt.Errorf("printing where the tenant is: %w", err)
	}
	<-cmd.Context().Done()
	for _, f := range e.Faults() {
		if f.Happened > 0 || !f.Ambient {
			fmt.Fprintf(p.Err, "fault: %s, %d of %d calls\n", f.Fault, f.Happened, f.Matched)
		}
	}
	if err := context.Cause(cmd.Context()); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// variablesMark is how a file of variables begins that we wrote.
const variablesMark = "# The variables of a tenant that reeve emulate serves; removed when it ends.\n"

// removeVariables removes a file of variables, if it is one: any that reeve wrote,
// or only the one with a certain text.
func removeVariables(file string, text []byte) error {
	at, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !at.Mode().IsRegular():
		return fmt.Errorf("%s is not a file: name one that is, or that is not there yet", file)
	}
	was, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	switch {
	case text == nil && len(was) > 0 && !bytes.HasPrefix(was, []byte(variablesMark)):
		return fmt.Errorf("%s exists, and reeve emulate did not write it: name another file, or remove it", file)
	case text != nil && !bytes.Equal(was, text):
		return nil // another tenant's by now
	}
	return os.Remove(file)
}

// introduction says what is served, and where.
func (o *emulateOptions) introduction(e *emulator.Emulator, t *tenant.Tenant) string {
	b := new(strings.Builder)
	at := e.Origins()
	fmt.Fprintf(b, "The emulated tenant %s (%s) is ready; the certificates are in %s.\n", t.DisplayName, t.ID, o.dir)
	fmt.Fprintln(b, "It is not Microsoft's, and nobody in it exists. Give it no real data.")
	if o.how.Expose {
		fmt.Fprint(b, "\nWARNING: it may be reached from the network. Whoever reaches it gets tokens,\nprivate keys and all that is in it.\n\n")
	}
	for _, line := range [][2]string{
		{"sign-in", at.Authority}, {"Graph", at.Graph}, {"Key Vault", at.Vault}, {"activity", at.Manage},
		{"logs", at.Logs}, {"identity", at.Identity}, {"resources", at.Resources}, {"control", at.Control}, {"proxy", e.Proxy()},
	} {
		if line[1] != "" {
			fmt.Fprintf(b, "  %-10s %s\n", line[0], line[1])
		}
	}
	if o.how.StateFile != "" {
		what := "It is kept in"
		if o.how.State != nil {
			what = "It goes on from"
		}
		fmt.Fprintf(b, "%s %s.\n", what, o.how.StateFile)
	}
	if o.envFile != "" {
		file := o.envFile
		if !strings.ContainsRune(file, '/') {
			file = "./" + file // or a shell looks for it in its PATH
		}
		fmt.Fprintf(b, "Point a client at it:  . %s\n", file)
	}
	if e.Proxy() != "" {
		fmt.Fprintf(b, "Or lead one through the proxy, which trusts the CA:  HTTPS_PROXY=%s SSL_CERT_FILE=%s client\n", e.Proxy(), filepath.Join(o.dir, "ca.pem"))
	}
	return b.String()
}
