package handout

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"unicode"
)

// nastyText is text of what languages give a meaning to.
func nastyText(r *rand.Rand) string {
	pieces := []string{"'", "''", "'''", `"`, `\`, "$", "${", "}", "%{", "%%{", "$$", "`", "(", ")", "#>", "<#", "@", "!", "*", "~", ";", "|", "&", "<", ">", "‘", "’", "‚", "‛", "“", "é", "漢", "a", " ", "-", "EOF", "CERTIFICATE"}
	var b strings.Builder
	for range r.IntN(12) + 1 {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// Each language's own rules, written down once more, read a quoted text back as it was.
func TestQuotedTextIsReadBack(t *testing.T) {
	// Doubled, a mark stands for itself; alone it ends the text.
	powerShell := func(s string) (string, bool) {
		isQuote := func(r rune) bool { return strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) }
		rs := []rune(s)
		if len(rs) < 2 || !isQuote(rs[0]) {
			return "", false
		}
		var b strings.Builder
		for i := 1; i < len(rs); i++ {
			if isQuote(rs[i]) {
				if i == len(rs)-1 {
					return b.String(), true
				}
				if i++; !isQuote(rs[i]) {
					return "", false
				}
			}
			b.WriteRune(rs[i])
		}
		return "", false
	}
	escaped := func(quote byte, templates map[string]string) func(string) (string, bool) {
		return func(s string) (string, bool) {
			if len(s) < 2 || s[0] != quote || s[len(s)-1] != quote {
				return "", false
			}
			s = s[1 : len(s)-1]
			var b strings.Builder
		next:
			for s != "" {
				for from, to := range templates {
					if strings.HasPrefix(s, from) {
						b.WriteString(to)
						s = s[len(from):]
						continue next
					}
				}
				if s[0] == quote || strings.HasPrefix(s, "${") || strings.HasPrefix(s, "%{") && quote == '"' || s[0] == '\\' {
					return "", false
				}
				b.WriteByte(s[0])
				s = s[1:]
			}
			return b.String(), true
		}
	}
	for name, l := range map[string]struct {
		quote func(string) string
		read  func(string) (string, bool)
	}{
		"PowerShell": {quotePowerShell, powerShell},
		"Terraform":  {quoteHCL, escaped('"', map[string]string{`\\`: `\`, `\"`: `"`, "$${": "${", "%%{": "%{"})},
		"Bicep":      {quoteBicep, escaped('\'', map[string]string{`\\`: `\`, `\'`: `'`, `\${`: "${"})},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		for range 20000 {
			s := nastyText(r)
			if got, ok := l.read(l.quote(s)); !ok || got != s {
				t.Fatalf("%s: %q is written %s, and read %q, %v", name, s, l.quote(s), got, ok)
			}
		}
	}
}

// A real shell reads its own.
func TestShellReadsQuotedText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var script, want strings.Builder
	for range 500 {
		s := nastyText(r)
		script.WriteString("printf '%s\\n' " + quoteShell(s) + "\n")
		want.WriteString(s + "\n")
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script.String()).Output()
	if err != nil || string(out) != want.String() {
		t.Errorf("the shell reads something else: %v", err)
	}
}

// In Markdown nothing that has a meaning is left without a backslash.
func TestMarkdownIsEscaped(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		s := nastyText(r)
		var b strings.Builder
		escaped := false
		for _, c := range escapeMarkdown(s) {
			if c == '\\' && !escaped {
				escaped = true
				continue
			}
			if !escaped && c < unicode.MaxASCII && strings.ContainsRune("`*_{}[]<>#|~&$", c) {
				t.Fatalf("%q: %q is left", s, c)
			}
			b.WriteRune(c)
			escaped = false
		}
		if b.String() != s {
			t.Fatalf("%q is read %q", s, b.String())
		}
	}
}
