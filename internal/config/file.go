package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A given is a setting as one source gives it, not yet read as a value.
type given struct {
	key    string
	texts  []string // one, or one for each element of a list
	origin []string // of each text; at least one
}

func give(key, text, origin string) given {
	g := given{key, []string{text}, []string{origin}}
	if f, ok := fieldOf(key); ok && f.list() {
		g.texts = splitList(text, ",")
	}
	return g
}

// at returns the origin of the text at i.
func (g given) at(i int) string { return g.origin[min(i, len(g.origin)-1)] }

// Bounds on what is read. A configuration is written by hand; what is longer is
// some other file.
const (
	maxFile   = 1 << 20
	maxSecret = 64 << 10
)

// readBounded reads a file that may not be longer than limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("longer than %d bytes: is it the right file?", limit)
	}
	return data, nil
}

// readFile reads the settings in the file of that name.
func readFile(name string) ([]given, []Problem) {
	data, err := readBounded(name, maxFile)
	if err != nil {
		var inPath *os.PathError
		if errors.As(err, &inPath) {
			err = inPath.Err // The origin names the file already.
		}
		return nil, []Problem{{Origin: name, Text: "reading the configuration file: " + err.Error()}}
	}
	return parseFile(name, data)
}

// parseFile reads YAML: mappings for sections, scalars for values, sequences of
// scalars for lists. It accepts the byte order marks and line ends of Windows.
func parseFile(name string, data []byte) ([]given, []Problem) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	if err := d.Decode(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, []Problem{syntax(name, err)}
	}
	r := fileReader{name: name, seen: map[string]int{}}
	root := doc.Content[0]
	if root.Kind == yaml.MappingNode {
		r.section(root, "")
	} else if root.Tag != "!!null" {
		r.problem(root, "", `want lines such as "tenant-id: …" at the top of the file`)
	}
	if err := d.Decode(&next); err == nil {
		r.problem(&next, "", "want one document: remove what follows the line ---")
	} else if err != io.EOF {
		r.problems = append(r.problems, syntax(name, err))
	}
	return r.givens, r.problems
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax turns an error of the YAML parser into a problem. That parser names an
// unknown anchor, and an unquoted password that begins with * is one.
func syntax(name string, err error) Problem {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	text, near := text[len(m[0]):], ""
	if m[1] != "" {
		near = ", near line " + m[1] // It counts from where the mistake was noticed.
	}
	if strings.Contains(text, "anchor") {
		text = "a value that begins with * or & must be in quotes"
	}
	return Problem{Origin: name, Text: "not YAML" + near + ": " + text}
}

type fileReader struct {
	name     string
	givens   []given
	problems []Problem
	seen     map[string]int // line by key
}

func (r *fileReader) origin(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.name, n.Line) }

func (r *fileReader) problem(n *yaml.Node, key, text string) {
	r.problems = append(r.problems, Problem{Key: shown(key), Origin: r.origin(n), Text: text})
}

// section reads a mapping; prefix is "" or ends in a dot.
func (r *fileReader) section(n *yaml.Node, prefix string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode {
			r.problem(name, strings.TrimSuffix(prefix, "."), "want a name before each colon")
			continue
		}
		key := prefix + name.Value
		if line, ok := r.seen[key]; ok {
			r.problem(name, key, fmt.Sprintf("given twice; the first is in line %d", line))
			continue
		}
		r.seen[key] = name.Line
		r.setting(name, value, key)
	}
}

func (r *fileReader) setting(name, value *yaml.Node, key string) {
	f, known := fieldOf(key)
	switch {
	case known:
		r.value(f, value)
	case !isSection(key):
		r.problem(name, key, "unknown key"+keyHint(key))
	case value.Kind == yaml.MappingNode:
		r.section(value, key+".")
	case value.Tag != "!!null":
		r.problem(value, key, "a section: want its keys in lines of their own below it, indented")
	}
}

func (r *fileReader) value(f field, n *yaml.Node) {
	switch {
	case f.list() && n.Kind == yaml.SequenceNode:
		g := given{key: f.key, origin: []string{r.origin(n)}}
		for i, e := range n.Content {
			if !r.scalar(f.key, e) {
				return
			}
			g.texts = append(g.texts, e.Value)
			if i == 0 {
				g.origin = nil
			}
			g.origin = append(g.origin, r.origin(e))
		}
		r.givens = append(r.givens, g)
	case f.list():
		r.problem(n, f.key, `want a list: each element in a line of its own that begins with "- "`)
	case r.scalar(f.key, n):
		r.givens = append(r.givens, given{f.key, []string{n.Value}, []string{r.origin(n)}})
	}
}

// scalar reports whether n is a plain value, and says so if not.
func (r *fileReader) scalar(key string, n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "", n.Style&yaml.TaggedStyle != 0:
		r.problem(n, key, "a value that begins with *, & or ! must be in quotes")
	case n.Kind != yaml.ScalarNode:
		r.problem(n, key, "want one value; one that begins with { or [ must be in quotes")
	case n.Tag == "!!null":
		r.problem(n, key, "has no value: give one or remove the line; one that begins with # must be in quotes")
	default:
		return true
	}
	return false
}
