package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/pki"
)

// maxPasswordFile bounds the file of a password, in bytes.
const maxPasswordFile = 4096

// passwordFlags say where a password is.
type passwordFlags struct {
	prefix    string // of the flags' names
	file, env string
	chosen    bool // it is chosen now, so a slip of the hand matters
}

func (w *passwordFlags) flags(cmd *cobra.Command, prefix, whose string) {
	w.prefix = prefix
	cmd.Flags().StringVar(&w.file, prefix+"password-file", "", "the file that holds the password "+whose+"; - for standard input")
	cmd.Flags().StringVar(&w.env, prefix+"password-env", "", "the variable that holds it")
	cmd.MarkFlagFilename(prefix + "password-file")
}

func (w *passwordFlags) given() bool { return w.file != "" || w.env != "" }

// flag is the name of the flag that was given.
func (w *passwordFlags) flag() string {
	if w.file != "" {
		return w.prefix + "password-file"
	}
	return w.prefix + "password-env"
}

// input reads what a command is given: files and passwords.
type input struct {
	*program
	ctx context.Context // over when reeve is interrupted
	passwordFlags
	password string // of the files that are read, once it is known
	known    bool
}

// onceStdin refuses standard input for several things.
func onceStdin(files []string, passwords ...passwordFlags) error {
	var uses []string
	for _, name := range files {
		if name == "-" {
			uses = append(uses, "a file to read")
		}
	}
	for _, w := range passwords {
		if w.file == "-" {
			uses = append(uses, "--"+w.flag())
		}
	}
	if len(uses) > 1 {
		return failWith(exitUsage, "standard input is to be read for %s: give all but one as files", strings.Join(uses, " and for "))
	}
	return nil
}

// data reads a file, or standard input.
func (i *input) data(name string) ([]byte, error) {
	data, err := i.bounded(name, pki.MaxFileSize)
	if i.ctx.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, in(shownName(name), &pki.Problem{Cause: inPath(err).Error(), Remedy: "see that it is a file that is there and may be read"})
	}
	return data, nil
}

// bounded reads a file, or standard input, until it is too long.
func (i *input) bounded(name string, most int64) ([]byte, error) {
	return await(i.ctx, func() ([]byte, error) {
		from := i.In
		if name != "-" {
			f, err := os.Open(name) // which waits, if it is a pipe
			if err != nil {
				return nil, err
			}
			defer f.Close()
			from = f
		}
		return io.ReadAll(io.LimitReader(from, most+1))
	})
}

// errInterrupted ends a command that was interrupted before it wrote anything.
var errInterrupted = errors.New("stopped; nothing was written")

// await waits for what a person or a pipe may never give, unless reeve is
// interrupted. Then the reading is left behind; the process is about to end.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}

// inPath takes the name of the file out of an error, for those who say it anyway.
func inPath(err error) error {
	if inPath := (*fs.PathError)(nil); errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

func shownName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// read reads a file with certificates or keys. If it turns out to need a password
// that no flag gives, it asks for that on a terminal, once.
func (i *input) read(name string) (*pki.Contents, error) {
	if !i.known && i.given() {
		password, err := i.secret(&i.passwordFlags)
		if err != nil {
			return nil, err
		}
		i.password, i.known = password, true
	}
	data, err := i.data(name)
	if err != nil {
		return nil, err
	}
	c, err := pki.Read(data, i.password)
	if err == nil || i.known || !errors.Is(err, pki.ErrNoPassword) {
		return c, in(shownName(name), err)
	}
	terminal, ok := i.terminal()
	if !ok {
		err := in(shownName(name), err)
		var p problem
		if errors.As(err, &p) {
			p.Problem = &pki.Problem{Cause: p.Cause, Remedy: fmt.Sprintf("give the password by --%[1]spassword-file FILE (- for standard input) or --%[1]spassword-env NAME", i.prefix)}
			return nil, p
		}
		return nil, err
	}
	if i.password, err = i.ask(terminal, "password of "+shownName(name)); err != nil {
		return nil, err
	}
	i.known = true
	c, err = pki.Read(data, i.password)
	return c, in(shownName(name), err)
}

// secret reads the password that flags name.
func (i *input) secret(w *passwordFlags) (string, error) {
	if w.file != "" && w.env != "" {
		return "", failWith(exitUsage, "--%[1]spassword-file and --%[1]spassword-env are both given: leave one out", w.prefix)
	}
	if w.env != "" {
		for _, v := range i.environ {
			if name, value, _ := strings.Cut(v, "="); name == w.env && value != "" {
				return value, nil
			}
		}
		return "", wrongFlag(w.flag(), fmt.Errorf("the variable %s is not set, or empty", w.env))
	}
	password, err := i.secretFile(w)
	switch {
	case i.ctx.Err() != nil:
		return "", errInterrupted
	case err != nil:
		return "", wrongFlag(w.flag(), err)
	}
	return password, nil
}

func (i *input) secretFile(w *passwordFlags) (string, error) {
	if terminal, ok := i.terminal(); ok && w.file == "-" {
		password, err := i.ask(terminal, "password")
		if err == nil && w.chosen {
			var again string
			if again, err = i.ask(terminal, "password once more"); err == nil && again != password {
				err = errors.New("the two differ: start again")
			}
			if err == nil && password == "" {
				err = errors.New("it is empty: give one, or leave the flag out")
			}
		}
		return password, err
	}
	data, err := i.bounded(w.file, maxPasswordFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", shownName(w.file), inPath(err))
	}
	password, err := passwordText(data)
	return password, in(shownName(w.file), err)
}

// passwordText takes a password out of what a file holds: all of it but a line end.
func passwordText(data []byte) (string, error) {
	const remedy = "write the password and nothing else into it, as UTF-8 or ASCII text of one line"
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case len(data) > maxPasswordFile:
		return "", &pki.Problem{Cause: fmt.Sprintf("it has more than %d bytes, which is no password", maxPasswordFile), Remedy: remedy}
	case text == "":
		return "", &pki.Problem{Cause: "it is empty", Remedy: remedy}
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", &pki.Problem{Cause: "it is no UTF-8 text", Remedy: remedy}
	case strings.ContainsAny(text, "\r\n"):
		return "", &pki.Problem{Cause: "it has several lines", Remedy: remedy}
	}
	return text, nil
}

// terminal gives the descriptor of standard input if that is a terminal.
func (p *program) terminal() (int, bool) {
	f, ok := p.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// ask asks for a password on a terminal, without showing it.
func (i *input) ask(terminal int, what string) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("asking for the %s: %w", what, err)
	}
	fmt.Fprintf(i.Err, "%s: ", what)
	text, err := await(i.ctx, func() ([]byte, error) { return term.ReadPassword(terminal) })
	if i.ctx.Err() != nil {
		term.Restore(terminal, before) // which shows again what is typed
	}
	fmt.Fprintln(i.Err)
	switch {
	case i.ctx.Err() != nil:
		return "", errInterrupted
	case err != nil:
		return "", fmt.Errorf("asking for the %s: %w", what, err)
	}
	return string(text), nil
}

// newPasswordFlags say by which password what is written is protected.
type newPasswordFlags struct {
	passwordFlags
	none bool
	to   string
}

func (w *newPasswordFlags) flags(cmd *cobra.Command, prefix string) {
	w.chosen = true
	w.passwordFlags.flags(cmd, prefix, "that the PFX file gets (default one is made, and shown once)")
	cmd.Flags().BoolVar(&w.none, "no-password", false, "write the PFX file without a password")
	cmd.Flags().StringVar(&w.to, "password-out", "", "write the password that is made to this file, instead of showing it")
	cmd.MarkFlagFilename("password-out")
}

// newPassword is a password that something is written with.
type newPassword struct {
	text   string
	Source string `json:"source"` // made, given or none
	Place  string `json:"place"`  // where one that was made can be found
	advice []pki.Problem
}

// choose reads or makes the password.
func (w *newPasswordFlags) choose(i *input) (newPassword, error) {
	switch {
	case w.none && w.given():
		return newPassword{}, wrongFlag("no-password", errors.New("given together with --"+w.flag()+": leave one out"))
	case w.to != "" && (w.none || w.given()):
		return newPassword{}, wrongFlag("password-out", errors.New("it is for a password that is made, and none is to be made: leave it out"))
	case w.none:
		return newPassword{Source: "none", advice: pki.PasswordAdvice("")}, nil
	case !w.given():
		return newPassword{text: pki.NewPassword(), Source: "made", Place: cmp.Or(w.to, "standard error")}, nil
	}
	text, err := i.secret(&w.passwordFlags)
	if err == nil {
		err = in("--"+w.flag(), pki.CheckPassword(text))
	}
	return newPassword{text: text, Source: "given", advice: pki.PasswordAdvice(text)}, err
}

// file is what is to be written of it, if anything.
func (w *newPasswordFlags) file(password newPassword) []certstore.NewFile {
	if w.to == "" {
		return nil
	}
	return []certstore.NewFile{{Path: w.to, Data: []byte(password.text + "\n")}}
}

// tell says where a password is that was made, or shows it if it is nowhere else:
// then, if it cannot be shown, the file is of no use.
func (p *program) tell(w *newPasswordFlags, password newPassword, file string) error {
	var err error
	switch {
	case password.Source != "made":
	case w.to != "":
		fmt.Fprintf(p.Err, "The password of %s is in %s.\n", file, w.to)
	default:
		if _, err = fmt.Fprintf(p.Err, "The password of %s, shown this once: %s\n", file, password.text); err != nil {
			err = fmt.Errorf("showing the password of %s, which nobody knows now: make the file anew, with --password-out or --force: %w", file, err)
		}
	}
	return err
}
