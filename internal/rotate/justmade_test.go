package rotate

import (
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
)

// Only the empty list of an application that reeve made a moment ago is known to be
// nobody else's.
func TestUntouched(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	foreign := []graph.KeyCredential{{KeyID: "somebody's"}}
	for _, c := range []struct {
		made time.Time
		keys []graph.KeyCredential
		want bool
	}{
		{time.Time{}, nil, false}, // it was there before
		{now, nil, true},
		{now.Add(-freshFor + time.Second), nil, true},
		{now.Add(-freshFor), nil, false},
		{now.Add(time.Minute), nil, false}, // by a wrong clock
		{now, foreign, false},
	} {
		w := &work{r: &Rotator{o: Options{Now: func() time.Time { return now }}}, a: credential.Application{Made: c.made}}
		if got := w.untouched(c.keys); got != c.want {
			t.Errorf("made %v, %d keys: %v", now.Sub(c.made), len(c.keys), got)
		}
	}
}
