package emulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

// TestUpsertAfterALostAnswer: what was created without the client's knowing is
// found again by its name, and is not made a second time.
func TestUpsertAfterALostAnswer(t *testing.T) {
	w := emulatortest.Start(t, nil)
	if err := w.Grant(w.Tenant.Client().ClientID, "graph/Application.ReadWrite.OwnedBy"); err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + w.Token(t, "https://graph.microsoft.com")
	upsert := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.Origins().Graph+"/v1.0/applications(uniqueName='reeve-1')", strings.NewReader(`{"displayName": "one"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", bearer)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Prefer", "create-if-missing")
		return w.HTTPClient().Do(r)
	}
	w.Inject(emulator.Fault{API: "graph", Operation: "upsertApplication", Kind: emulator.LostResponse, Times: 1})
	if resp, err := upsert(); err == nil {
		t.Fatalf("the answer was not lost: %d", resp.StatusCode)
	}
	resp, err := upsert()
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	n := 0
	for _, a := range w.Tenant.Directory.View(0).Applications() {
		if a.UniqueName != nil && *a.UniqueName == "reeve-1" {
			n++
		}
	}
	if resp.StatusCode != http.StatusNoContent || n != 1 {
		t.Errorf("the second time: %d, and there are %d", resp.StatusCode, n)
	}
}
