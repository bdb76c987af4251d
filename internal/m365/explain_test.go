package m365

import (
	"strings"
	"testing"
)

func TestExplanationsAreComplete(t *testing.T) {
	for _, code := range []int{
		700027, 700016, 90002, 900023, 7000215, 7000222, 7000218, 700024, 700023, 700021, 700025, 700026,
		7000229, 7000112, 500011, 65001, 1002012, 70011, 50027, 5002723, 5002738, 90014, 53003, 50196,
		700213, 700211, 700212, 500014, 501051, 7000277, 7000214, 1000502,
	} {
		if _, ok := Explain(code); !ok {
			t.Errorf("AADSTS%d has no explanation", code)
		}
	}
	general := map[int]bool{}
	for _, x := range explanations {
		for name, s := range map[string]string{"cause": x.Cause, "remedy": x.Remedy, "waiting": x.Waiting} {
			if !strings.HasSuffix(s, ".") {
				t.Errorf("AADSTS%d: the %s is no sentence: %q", x.Code, name, s)
			}
		}
		if x.Title == "" || strings.HasSuffix(x.Title, ".") {
			t.Errorf("AADSTS%d: title %q", x.Code, x.Title)
		}
		if general[x.Code] {
			t.Errorf("AADSTS%d: an entry stands behind the general one and is never found", x.Code)
		}
		general[x.Code] = x.when == ""
	}
}

func TestExplainTellsReasonsApart(t *testing.T) {
	titles := map[string]bool{}
	for _, reason := range []string{
		"[Reason - The key was not found., Thumbprint of key used by client: 'AB']",
		"[Reason - The provided signature value did not match the expected signature value.]",
		"[Reason - Key was found, but use of the key to verify the signature failed.]",
		"[Reason - The key used is expired.]",
		"something new",
	} {
		x, ok := explain(700027, "AADSTS700027: "+reason)
		if !ok || titles[x.Title] {
			t.Errorf("%s: %q, known %t, seen before %t", reason, x.Title, ok, titles[x.Title])
		}
		titles[x.Title] = true
	}
	if _, ok := Explain(1); ok {
		t.Error("AADSTS1 is explained")
	}
}
