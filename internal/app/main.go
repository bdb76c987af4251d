// Package app is the wiring: it builds everything else from the configuration,
// in one straight line, and holds the commands, a file each.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for windows of policies, where the system has no time zones

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/store"
)

// Streams are what a command reads and writes. Results go to Out, talk to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitConfig   = 3 // a setting is missing or wrong
	exitSignIn   = 4 // authentication or consent
	exitSource   = 5 // the source is unavailable, or not all of it could be read
	exitDatabase = 6
	exitCheck    = 7 // a check failed
)

// coded is an error with an exit code of its own.
type coded struct {
	code int
	err  error
}

func (c coded) Error() string { return c.err.Error() }
func (c coded) Unwrap() error { return c.err }

func failWith(code int, format string, args ...any) error {
	return coded{code, fmt.Errorf(format, args...)}
}

// exitCode tells an error's exit code.
func exitCode(err error) int {
	var (
		own      coded
		settings *config.Problems
		signIn   *m365.SignInError
		answer   *m365.Error
		database *store.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &settings):
		return exitConfig
	case errors.As(err, &database):
		return exitDatabase
	case errors.Is(err, m365.ErrTransient), errors.Is(err, m365.ErrThrottled):
		return exitSource
	case errors.As(err, &signIn), errors.Is(err, m365.ErrUnauthorized), errors.Is(err, m365.ErrForbidden):
		return exitSignIn
	case errors.As(err, &answer):
		return exitSource
	}
	return exitFailure
}

// program is one run of reeve: what it was given, for the commands.
type program struct {
	Streams
	environ    []string
	now        func() time.Time
	configFile string
	flags      *pflag.FlagSet // those of the settings
}

// Main runs reeve with the arguments after its name, and returns the exit code.
// All settings come from environ. The Azure SDK finds a managed identity
// (IDENTITY_ENDPOINT and the like) and net/http the proxy in the process's own
// environment, which a caller that passes another one must know.
func Main(ctx context.Context, args, environ []string, s Streams) int {
	return (&program{Streams: s, environ: environ, now: time.Now}).run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(p.Err, "reeve: stopped. What was stored is complete in itself; the next run goes on from here.")
		return exitFailure
	}
	p.complain(err)
	return exitCode(err)
}

// complain prints an error, with what is known of its cause and remedy.
func (p *program) complain(err error) {
	fmt.Fprintln(p.Err, "reeve:", err)
	if x, ok := m365.ExplanationOf(err); ok {
		x.Remedy = remedy(err)
		fmt.Fprintln(p.Err)
		printExplanation(p.Err, x)
		return
	}
	if text := remedy(err); text != "" {
		fmt.Fprintf(p.Err, "  remedy: %s\n", indent(text))
	}
}

// remedy says what to do about an error, if that is known and the error's text does not
// say it.
func remedy(err error) string {
	var signIn *m365.SignInError
	if errors.As(err, &signIn) {
		x, _ := signIn.Explanation()
		return x.Remedy
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n           ") }

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "reeve",
		Short: "Look after a Microsoft 365 tenant: import its audit log, under a certificate, without losing a record",
		Long: `reeve imports what happens in a Microsoft 365 tenant into SQL, signs in with
certificates, and can show that nothing is missing.

Try it without a tenant:   reeve demo
Import your own:           reeve config validate && reeve import run --once`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		Version:       version().Version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddGroup(&cobra.Group{ID: "main", Title: "Commands:"}, &cobra.Group{ID: "other", Title: "More:"})
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	p.flags = root.PersistentFlags()
	p.flags.StringVar(&p.configFile, "config", "", "the configuration file (also REEVE_CONFIG)")
	for _, k := range config.Keys() {
		doc, _, _ := strings.Cut(k.Doc, ". ")
		p.flags.String(k.Flag, "", strings.TrimSuffix(doc, "."))
		f := p.flags.Lookup(k.Flag)
		f.DefValue = ""
		if k.Bool() {
			f.NoOptDefVal = "true"
		}
		if len(k.Values) > 0 {
			root.RegisterFlagCompletionFunc(k.Flag, cobra.FixedCompletions(slices.Clone(k.Values), cobra.ShellCompDirectiveNoFileComp))
		}
	}
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failWith(exitUsage, "%w\nSee '%s --help' for its flags and 'reeve help settings' for those of the settings", err, cmd.CommandPath())
	})
	for _, add := range commands {
		root.AddCommand(add(p))
	}
	root.AddCommand(&cobra.Command{
		Use:   "settings",
		Short: "Every setting: its key, flag, variable and default",
		Long:  settingsText(),
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	checkArgs(root)
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(_ *cobra.Command, args []string) error {
		cmd, rest, _ := root.Find(args)
		return cmd.ValidateArgs(rest)
	}
	return root
}

// settingsText lists every setting for a terminal.
func settingsText() string {
	var b strings.Builder
	b.WriteString("Every setting is a key of the configuration file, a variable and a flag. A flag wins\nover a variable, a variable over the file, the file over what other programs set:\nthe names of the Azure SDK (AZURE_TENANT_ID, AZURE_CLIENT_ID,\nAZURE_CLIENT_CERTIFICATE_PATH, …) and of the original engine (TenantGUID, ClientID,\nUseClientCertificate, KeyVaultUrl, …).\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&b, "\n%s   %s   --%s\n", k.Name, k.Env, k.Flag)
		if k.Default != "" {
			fmt.Fprintf(&b, "    default %s\n", k.Default)
		}
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(k.Doc, "\n", "\n    "))
	}
	return b.String()
}

// commands are reeve's commands.
var commands = []func(*program) *cobra.Command{
	demoCommand,
	importCommand,
	serveCommand,
	auditCommand,
	quarantineCommand,
	coverageCommand,
	dbCommand,
	appCommand,
	tokenCommand,
	checkCommand,
	explainCommand,
	doctorCommand,
	emulateCommand,
	certCommand,
	pkiCommand,
	configCommand,
	versionCommand,
}

// checkArgs makes wrong arguments of every command usage errors, and the names
// of commands that do not exist, which cobra answers with help.
func checkArgs(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	check := cmd.Args
	if check == nil {
		check = noArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		if cmd.HasSubCommands() && len(args) > 0 {
			err = fmt.Errorf("%q is not a command of %s", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err = fmt.Errorf("%w; did you mean %q?", err, near[0])
			}
		}
		return failWith(exitUsage, "%w\nSee '%s --help'", err, cmd.CommandPath())
	}
	for _, c := range cmd.Commands() {
		checkArgs(c)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, and got %q", cmd.CommandPath(), args)
	}
	return nil
}

// load reads the configuration from flags, environment and file.
func (p *program) load(signIn bool) (*config.Config, error) {
	set := map[string]string{}
	for _, k := range config.Keys() {
		if f := p.flags.Lookup(k.Flag); f.Changed {
			set[k.Name] = f.Value.String()
		}
	}
	return config.Load(config.Source{File: p.configFile, Environ: p.environ, Flags: set, SignIn: signIn})
}

// with gives the environment with some variables replaced or added.
func with(environ, variables []string) []string {
	byName := map[string]string{}
	for _, v := range slices.Concat(environ, variables) {
		name, _, _ := strings.Cut(v, "=")
		byName[name] = v
	}
	return slices.Sorted(maps.Values(byName))
}

const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .LocalNonPersistentFlags.HasAvailableFlags}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Settings are flags too, and variables, and keys of a file: --config FILE,
--database-url, --tenant-id and more; see 'reeve help settings'.
{{if .HasAvailableSubCommands}}Use '{{.CommandPath}} [command] --help' for more about a command.
{{end}}`
