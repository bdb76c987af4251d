package app

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command that does something says in one line what, and has examples that
// work: commands and flags that exist.
func TestEachCommandHasExamples(t *testing.T) {
	p := &program{Streams: Streams{Out: io.Discard, Err: io.Discard}}
	n := 0
	for _, cmd := range ours(p.root()) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short description is %q, want a line without a full stop", path, cmd.Short)
		}
		if cmd.HasSubCommands() || !cmd.Runnable() {
			continue
		}
		n++
		if !strings.Contains(cmd.Example, path) {
			t.Errorf("%s: its examples are %q, want one that begins with two spaces and shows it", path, cmd.Example)
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: the example %q is not indented by two spaces", path, line)
			}
			tryExample(t, line)
		}
	}
	if n < 8 {
		t.Errorf("only %d commands were looked at", n)
	}
}

// ours are all commands but those that cobra brings.
func ours(cmd *cobra.Command) []*cobra.Command {
	if cmd.Name() == "completion" || cmd.Name() == "help" {
		return nil
	}
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		all = append(all, ours(c)...)
	}
	return all
}

// tryExample checks the flags and arguments of the call of reeve in a line of
// shell, without running it.
func tryExample(t *testing.T, line string) {
	t.Helper()
	_, call, found := strings.Cut(line, "reeve ")
	if !found {
		return
	}
	root := (&program{Streams: Streams{Out: io.Discard, Err: io.Discard}}).root()
	cmd, rest, err := root.Find(shellWords(call))
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("the example %q: %v", strings.TrimSpace(line), err)
	}
}

// shellWords are the words of the first command of a line of shell, with what is in
// single quotes as one word.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		end := strings.IndexAny(part, "|&>)")
		if end >= 0 {
			part = part[:end]
		}
		words = append(words, strings.Fields(part)...)
		if end >= 0 {
			break
		}
	}
	return words
}
