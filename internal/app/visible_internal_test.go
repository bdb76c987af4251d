package app

import "testing"

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"{\n\t\"a\": \"Grüße 😀\"\n}":      "{\n\t\"a\": \"Grüße 😀\"\n}",
		"\x1b[31m\x07\r\x00":              `\x1b[31m\a\r\x00`,
		"\xff\xfe a \u009b2J\u202e\ufffd": `\xff\xfe a \u009b2J\u202e` + "\ufffd",
	} {
		if got := visible([]byte(in)); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
