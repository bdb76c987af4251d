package config

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An Assignment sets a key to a value, as a flag would: the elements of a list are
// separated by commas.
type Assignment struct{ Key, Value string }

// A Change is what an [Assignment] changes in a file.
type Change struct {
	Key  string `json:"key"`
	From string `json:"from"` // empty when the file did not say
	To   string `json:"to"`
}

// Edit sets keys in the text of a configuration file, and leaves the rest with its
// comments. A text that is no configuration is an error, and a value that cannot be used.
// name is the file's, for errors.
func Edit(name string, text []byte, set []Assignment) (edited []byte, changes []Change, err error) {
	givens, problems := parseFile(name, text)
	if len(problems) > 0 {
		return nil, nil, (*Problems)(&problems)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if doc.Kind == 0 || doc.Content[0].Kind != yaml.MappingNode {
		doc = yaml.Node{Kind: yaml.DocumentNode, HeadComment: doc.HeadComment, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	for _, a := range set {
		f, ok := fieldOf(a.Key)
		if !ok {
			return nil, nil, fmt.Errorf("there is no setting %s", a.Key)
		}
		g := give(a.Key, a.Value, "")
		for _, t := range g.texts {
			if _, err := f.parse(t); err != nil {
				return nil, nil, fmt.Errorf("setting %s: %w", a.Key, err)
			}
		}
		before := ""
		if g := find([][]given{givens}, a.Key); g != nil {
			before = strings.Join(g.texts, ",")
			if before == a.Value {
				continue
			}
		}
		assign(doc.Content[0], strings.Split(a.Key, "."), g.texts, f.list())
		changes = append(changes, Change{a.Key, before, a.Value})
	}
	if len(changes) == 0 {
		return text, nil, nil
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return b.Bytes(), changes, e.Close()
}

// assign sets what the path leads to, and makes the sections on the way.
func assign(section *yaml.Node, path []string, texts []string, list bool) {
	value := &yaml.Node{}
	for i := 0; i+1 < len(section.Content); i += 2 {
		if section.Content[i].Value == path[0] {
			value = section.Content[i+1]
		}
	}
	if value.Kind == 0 {
		section.Content = append(section.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, value)
	}
	if len(path) > 1 {
		if value.Kind != yaml.MappingNode {
			*value = yaml.Node{Kind: yaml.MappingNode}
		}
		assign(value, path[1:], texts, list)
		return
	}
	*value = yaml.Node{Kind: yaml.ScalarNode, Value: texts[0], LineComment: value.LineComment, HeadComment: value.HeadComment, FootComment: value.FootComment}
	if list {
		*value = yaml.Node{Kind: yaml.SequenceNode, HeadComment: value.HeadComment, FootComment: value.FootComment}
		for _, t := range texts {
			value.Content = append(value.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: t})
		}
	}
}
