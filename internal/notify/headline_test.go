package notify

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHeadlineIsReadAtAGlance: what is left out of a subject is in the text, once.
func TestHeadlineIsReadAtAGlance(t *testing.T) {
	const ids = " (trace 40dccc8c-276d-4927-b6e0-583bf24f9000, correlation 55f49a48-adab-4470-b42d-f100f63bc15d, 2026-06-09 14:01:21Z)"
	long := strings.Repeat("the step after \"staged\" fails, ü ", 6)
	for name, test := range map[string]struct{ subject, text, line, body string }{
		"short":           {"payroll: a new certificate is in use", "It has become the active one.", "payroll: a new certificate is in use", "It has become the active one."},
		"a finding":       {"payroll: refused" + ids, "refused" + ids, "payroll: refused", "refused" + ids},
		"only a subject":  {"payroll: refused" + ids + "; see there", "", "payroll: refused; see there", "payroll: refused" + ids + "; see there"},
		"another text":    {"payroll: refused (request 1f)", "Mind it.", "payroll: refused", "payroll: refused (request 1f)\n\nMind it."},
		"other brackets":  {"payroll: refused (AADSTS700027)", "", "payroll: refused (AADSTS700027)", ""},
		"more lines":      {"a\nb", "a b", "a b", "a b"},
		"without a blank": {strings.Repeat("ü", 200), "", strings.Repeat("ü", longestHeadline-1) + "…", strings.Repeat("ü", 200)},
	} {
		line, body := headline(Event{Subject: test.subject, Text: test.text})
		if line != test.line || body != test.body {
			t.Errorf("%s: %q, %q", name, line, body)
		}
	}
	line, body := headline(Event{Subject: "payroll: " + long, Text: long})
	if n := utf8.RuneCountInString(line); n > longestHeadline || n < longestHeadline-20 || !strings.HasSuffix(line, "…") || body != long {
		t.Errorf("%d characters: %q, %q", n, line, body)
	}
}

func TestPrefixIsSetApart(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "reeve": "[reeve]", "IT alarms": "[IT alarms]", "[reeve]": "[reeve]", "reeve:": "reeve:", "reeve |": "reeve |"} {
		if got := bracketed(prefix); got != want {
			t.Errorf("%q becomes %q", prefix, got)
		}
	}
}
