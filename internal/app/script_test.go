package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts are the tutorial: each begins by saying what it shows. Beside what
// testscript itself offers they use
//
//	source FILE             waits for the file, then sets the variables it exports
//	json FILE PATH [REGEXP] a member is there, at PATH as in a.b.0, and matches
//	accounted FILE          each record that a demo generated is somewhere
//	code N reeve ARGS...    reeve ends with the exit code N
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, endAtOnce)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"source":    scriptSource,
			"json":      scriptJSON,
			"accounted": scriptAccounted,
			"code":      scriptCode,
		},
		RequireUniqueNames: true,
	})
}

func scriptSource(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: source FILE")
	}
	for range ticks() {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			continue
		}
		for _, v := range exported(string(text)) {
			name, value, _ := strings.Cut(v, "=")
			ts.Setenv(name, value)
		}
		return
	}
	ts.Fatalf("%s does not appear", args[0])
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: [!] json FILE PATH [REGEXP]")
	}
	value, err := member(ts.ReadFile(args[0]), args[1])
	found := err == nil
	if found && len(args) == 3 {
		found = regexp.MustCompile("^(?:" + args[2] + ")$").MatchString(value)
	}
	if found == neg {
		ts.Fatalf("%s is %q (%v)", args[1], value, err)
	}
}

// member gives a member of a JSON text: a string as it is, anything else as
// JSON.
func member(text, path string) (string, error) {
	at := json.RawMessage(text)
	for _, name := range strings.Split(path, ".") {
		var list []json.RawMessage
		if json.Unmarshal(at, &list) == nil {
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(list) {
				return "", fmt.Errorf("there is no element %s", name)
			}
			at = list[i]
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(at, &object); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		var found bool
		if at, found = object[name]; !found {
			return "", fmt.Errorf("there is no member %s", name)
		}
	}
	var s string
	if json.Unmarshal(at, &s) == nil {
		return s, nil
	}
	return string(at), nil
}

func scriptAccounted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: accounted FILE")
	}
	var s struct {
		Generated, Stored, Quarantined, Missing int
		OutOfScope                              int `json:"out_of_scope"`
		Rows                                    struct {
			Feeds     map[string]map[string]int
			Workloads map[string]int
		}
		Seconds float64
		Peak    int64 `json:"peak_memory_bytes"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &s))
	if s.Generated == 0 || s.Missing != 0 || s.Stored+s.OutOfScope+s.Quarantined != s.Generated {
		ts.Fatalf("generated %d, stored %d, out of scope %d, quarantined %d, missing %d",
			s.Generated, s.Stored, s.OutOfScope, s.Quarantined, s.Missing)
	}
	for what, counts := range map[string]map[string]int{"rows.feeds.audit": s.Rows.Feeds["audit"], "rows.workloads": s.Rows.Workloads} {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		if sum != s.Stored {
			ts.Fatalf("%s adds up to %d, and %d are stored", what, sum, s.Stored)
		}
	}
	if s.Seconds <= 0 || s.Peak < 1<<20 {
		ts.Fatalf("seconds %v, peak_memory_bytes %d", s.Seconds, s.Peak)
	}
}

func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	var want int
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N reeve ARGS...")
	}
	if _, err := fmt.Sscan(args[0], &want); err != nil {
		ts.Fatalf("usage: code N reeve ARGS...: %v", err)
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
