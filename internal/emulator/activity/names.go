package activity

import (
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// sensitiveTypes are a few of the kinds of text that data loss prevention
// looks for, with their documented ids, in English and German.
var sensitiveTypes = [...]struct{ id, english, german string }{
	{"50842eb7-edc8-4019-85dd-5a5c1f2bb085", "Credit Card Number", "Kreditkartennummer"},
	{"a44669fe-0d48-453d-a9b1-2cc83f2cba77", "U.S. Social Security Number (SSN)", "US-Sozialversicherungsnummer (SSN)"},
	{"e7dc4711-11b7-4cb0-b88b-2c394a771f0e", "International Banking Account Number (IBAN)", "Internationale Bankkontonummer (IBAN)"},
	{"cb353f78-2b72-4c3c-8827-92ebe4f69fdf", "ABA Routing Number", "ABA-Bankleitzahl"},
}

// listSensitiveTypes answers in the language that Accept-Language names, of
// which there may be one.
func (e *API) listSensitiveTypes(w http.ResponseWriter, c *activityCall) error {
	language := strings.TrimSpace(strings.Join(c.Header.Values("Accept-Language"), ","))
	tag, quality, weighted := strings.Cut(language, ";")
	switch {
	case strings.Contains(language, ","):
		return badActivity("AF20053", "Only one language may be present in the Accept-Language header.")
	case language != "" && !isLanguage(strings.TrimSpace(tag)), weighted && !strings.HasPrefix(strings.TrimSpace(quality), "q="):
		return badActivity("AF20054", "Invalid syntax in Accept-Language header.")
	}
	type name struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var list []name
	for _, s := range sensitiveTypes {
		n := name{s.id, s.english}
		if main, _, _ := strings.Cut(tag, "-"); strings.EqualFold(main, "de") {
			n.Name = s.german
		}
		list = append(list, n)
	}
	origin.WriteJSON(w, http.StatusOK, list)
	return nil
}

// isLanguage reports whether s has the syntax of a language tag (RFC 5646, the
// outline of it) or is the wildcard.
func isLanguage(s string) bool {
	if s == "*" {
		return true
	}
	for i, part := range strings.Split(s, "-") {
		if len(part) < 1 || len(part) > 8 || i == 0 && len(part) < 2 {
			return false
		}
		for _, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			if !letter && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
	}
	return true
}
