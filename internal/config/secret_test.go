package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const hidden = "hunter2"

func TestSecretIsNeverSeen(t *testing.T) {
	s := Secret(hidden)
	seen := map[string]string{}
	for _, verb := range []string{"%s", "%q", "%v", "%+v", "%#v", "%x", "%X", "%d", "%t", "%c", "%10s", "%.3s"} {
		seen[verb] = fmt.Sprintf(verb, s)
		seen["struct "+verb] = fmt.Sprintf(verb, Auth{ClientSecret: s})
		seen["pointer "+verb] = fmt.Sprintf(verb, &Config{Auth: Auth{ClientSecret: s}})
		seen["error "+verb] = fmt.Errorf(verb, []Secret{s}).Error()
	}
	seen["Println"] = fmt.Sprintln(s)
	var b strings.Builder
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		log.Info("alone", "secret", s)
		log.Info("within", "auth", Auth{ClientSecret: s})
	}
	seen["slog"] = b.String()
	j, err := json.Marshal(Auth{ClientSecret: s})
	if err != nil {
		t.Fatal(err)
	}
	seen["json"] = string(j)
	y, err := yaml.Marshal(map[string]any{"a": s, "b": Auth{ClientSecret: s}})
	if err != nil {
		t.Fatal(err)
	}
	seen["yaml"] = string(y)

	for how, text := range seen {
		if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
	if s.String() != "<secret>" || Secret("").String() != "" || s.Reveal() != hidden {
		t.Errorf("String %q, of none %q, Reveal %q", s, Secret(""), s.Reveal())
	}
}
