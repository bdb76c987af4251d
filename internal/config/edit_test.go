package config

import (
	"strings"
	"testing"
)

// An edited file says what it said, comments included, and what was set.
func TestEdit(t *testing.T) {
	const id, other = "11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"
	set := []Assignment{{"tenant-id", id}, {"auth.certificate", "own"}, {"feeds.audit.content-types", "Audit.General,Audit.Exchange"}}
	for name, c := range map[string]struct {
		text    string
		want    []string
		changes int
	}{
		"nothing":      {"", []string{"tenant-id: " + id, "auth:\n  certificate: own", "content-types:\n      - Audit.General\n      - Audit.Exchange"}, 3},
		"comment":      {"# ours\n", []string{"tenant-id: " + id}, 3},
		"other things": {"# ours\nlog:\n  level: debug # for now\ntenant-id: " + other + "\n", []string{"# ours", "level: debug # for now", "tenant-id: " + id}, 3},
		"empty part":   {"auth:\ntenant-id: " + id + "\n", []string{"tenant-id: " + id, "certificate: own"}, 2},
		"all":          {"tenant-id: " + id + "\nauth: {certificate: own}\nfeeds:\n  audit:\n    content-types: [Audit.General, Audit.Exchange]\n", []string{"auth: {certificate: own}"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			edited, changes, err := Edit("reeve.yaml", []byte(c.text), set)
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) != c.changes {
				t.Errorf("changes %v", changes)
			}
			for _, s := range c.want {
				if !strings.Contains(string(edited), s) {
					t.Errorf("there is no %q in\n%s", s, edited)
				}
			}
			if _, problems := parseFile("reeve.yaml", edited); len(problems) > 0 {
				t.Errorf("%v in\n%s", problems, edited)
			}
			if _, changes, err := Edit("reeve.yaml", edited, set); err != nil || len(changes) > 0 {
				t.Errorf("again: %v, %v", changes, err)
			}
		})
	}
	for _, text := range []string{"tenant: x\n", "- a\n", ":\n  - ]"} {
		if _, _, err := Edit("reeve.yaml", []byte(text), set); err == nil {
			t.Errorf("%q is edited", text)
		}
	}
	for _, a := range []Assignment{{"tenant-id", "x"}, {"tenant", id}} {
		if _, _, err := Edit("reeve.yaml", nil, []Assignment{a}); err == nil {
			t.Errorf("%v is set", a)
		}
	}
}
