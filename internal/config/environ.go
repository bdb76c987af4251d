package config

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A variable is one of the environment. Names are compared ignoring case, as
// Windows and App Service do.
type variable struct{ name, value string }

func (v variable) origin() string { return "environment variable " + v.name }

// environment indexes "NAME=value" lines by NAME in upper case. An empty
// variable counts as not set, as compose files pass those that nobody gave.
func environment(environ []string) map[string]variable {
	env := map[string]variable{}
	for _, line := range environ {
		if name, value, _ := strings.Cut(line, "="); name != "" {
			env[strings.ToUpper(name)] = variable{name, value}
		}
	}
	return env
}

// fileVariable is the variable that names the configuration file.
const fileVariable = "REEVE_CONFIG"

// elsewhere are variables of ours that are no settings.
var elsewhere = []string{fileVariable, "REEVE_LIVE_TENANT"}

// serviceLink matches the variables that Kubernetes puts into every container
// beside a Service whose name begins with "reeve".
var serviceLink = regexp.MustCompile(`^REEVE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$`)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && regexp.MustCompile(`^(tcp|udp|sctp)://`).MatchString(value)
}

// readEnvironment reads the REEVE_ variables.
func readEnvironment(env map[string]variable) ([]given, []Problem) {
	var givens []given
	var problems []Problem
	known := slices.Clone(elsewhere)
	for _, f := range fields() {
		known = append(known, f.env())
		v, direct := env[f.env()]
		direct = direct && v.value != ""
		if direct {
			givens = append(givens, give(f.key, v.value, v.origin()))
		}
		if !f.secret() {
			continue
		}
		known = append(known, f.env()+"_FILE")
		file := env[f.env()+"_FILE"]
		switch {
		case file.value == "":
		case direct:
			problems = append(problems, Problem{Key: f.key, Origin: file.origin(),
				Text: "given twice: unset this one or " + f.env()})
		default:
			text, err := readSecret(file.value)
			if err != nil {
				problems = append(problems, Problem{f.key, file.origin(), shown(file.value), "reading the secret: " + err.Error()})
				continue
			}
			givens = append(givens, give(f.key, text, file.origin()+" ("+file.value+")"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		v := env[name]
		if strings.HasPrefix(name, "REEVE_") && !slices.Contains(known, name) && !isServiceLink(name, v.value) {
			problems = append(problems, Problem{Origin: v.origin(), Text: "unknown variable" + hint(name, known)})
		}
	}
	return givens, problems
}

// readSecret reads a secret that Docker, Kubernetes or systemd put into a file:
// all of it but one line end.
func readSecret(name string) (string, error) {
	data, err := readBounded(name, maxSecret)
	if err != nil {
		var inPath *os.PathError
		if errors.As(err, &inPath) {
			err = inPath.Err
		}
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", errors.New("the file is empty")
	}
	return text, nil
}
