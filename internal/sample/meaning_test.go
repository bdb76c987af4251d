package sample

import (
	"maps"
	"slices"
	"testing"

	"github.com/reeve365/reeve/internal/m365"
)

// A code that a meaning names is one that reeve explains.
func TestMeaningsNameExplainedCodes(t *testing.T) {
	texts := []string{urlMeaning, certificateMeaning}
	for _, meanings := range []map[string]string{headerMeanings, formMeanings, assertionMeanings, tokenMeanings} {
		texts = slices.AppendSeq(texts, maps.Values(meanings))
	}
	named := 0
	for _, text := range texts {
		r := m365.Explain(text)
		if named += len(r.Explanations); len(r.Unknown) > 0 {
			t.Errorf("%v is not explained: %s", r.Unknown, text)
		}
	}
	if named == 0 {
		t.Error("no meaning names a code")
	}
}
