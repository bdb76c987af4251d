package sample

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf16"
)

// quoting makes a literal of a text, by the language in which it is to stand. The
// texts have no control characters; see [writable].
var quoting = template.FuncMap{
	"golang":     strconv.Quote,
	"js":         quoteJS,
	"java":       quoteUTF16,
	"cs":         quoteUTF16,
	"python":     strconv.QuoteToASCII, // whose \u and \U Python knows
	"powershell": quotePowerShell,
	"php":        quotePHP,
	"sh":         quoteShell,
}

func quoteJS(s string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// quoteUTF16 escapes all but ASCII, because how javac reads a file depends on the
// machine.
func quoteUTF16(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x7f:
			b.WriteRune(r)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quotePowerShell doubles every character that ends a text in single quotes: to
// PowerShell the typographic ones do as well.
func quotePowerShell(s string) string {
	for _, quote := range []string{"'", "‘", "’", "‚", "‛"} {
		s = strings.ReplaceAll(s, quote, quote+quote)
	}
	return "'" + s + "'"
}

func quotePHP(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
