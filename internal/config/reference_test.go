package config

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSampleMeansTheDefaults(t *testing.T) {
	file := writeFile(t, Sample())
	if diff := cmp.Diff(settings(t, Source{}), settings(t, Source{File: file})); diff != "" {
		t.Errorf("settings (-default +sample):\n%s", diff)
	}
}

// Whoever uncomments a key of the sample has a file that loads.
func TestSampleUncommented(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( *)#([a-z]|  - )`).ReplaceAllString(Sample(), "$1$2")
	file := writeFile(t, text)
	for _, s := range settings(t, Source{File: file}) {
		if !strings.HasPrefix(s.Origin, file+":") {
			t.Errorf("%s is not in the sample: it comes from %s", s.Key, s.Origin)
		}
	}
}

func TestReferenceNamesEverything(t *testing.T) {
	page := Reference()
	for _, k := range Keys() {
		for _, part := range []string{"### `" + k.Name + "`\n", "`--" + k.Flag + "`", "`" + k.Env + "`", k.Doc} {
			if !strings.Contains(page, part) {
				t.Errorf("the page does not have %q", part)
			}
		}
	}
	for _, n := range append(azureNames, originalNames...) {
		if _, ok := fieldOf(n.key); !ok || !strings.Contains(page, "| `"+n.name+"` | `"+n.key+"` |") {
			t.Errorf("the page does not have %s, or %s is no key", n.name, n.key)
		}
	}
}
