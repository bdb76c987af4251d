package origin_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

func kinds(f *origin.Faults, calls int) (got []origin.FaultKind) {
	for range calls {
		if fault := f.Generic(origin.Graph, "list"); fault != nil {
			got = append(got, fault.Kind)
		} else {
			got = append(got, "")
		}
	}
	return got
}

func TestWhenAFaultHappens(t *testing.T) {
	const x = origin.Slow
	for _, test := range []struct {
		fault origin.Fault
		want  []origin.FaultKind
	}{
		{origin.Fault{Kind: x}, []origin.FaultKind{x, x, x}},
		{origin.Fault{Kind: x, Every: 2}, []origin.FaultKind{"", x, "", x, ""}},
		{origin.Fault{Kind: x, Times: 2}, []origin.FaultKind{x, x, "", ""}},
		{origin.Fault{Kind: x, After: 2, Times: 1}, []origin.FaultKind{"", "", x, ""}},
		{origin.Fault{Kind: x, After: 1, Every: 2, Times: 2}, []origin.FaultKind{"", "", x, "", x, "", ""}},
		{origin.Fault{Kind: x, API: origin.Vault}, []origin.FaultKind{"", ""}},
		{origin.Fault{Kind: x, Operation: "get"}, []origin.FaultKind{"", ""}},
		{origin.Fault{Kind: origin.Burst, After: 1, Times: 1}, []origin.FaultKind{
			"", origin.Unavailable, origin.ServerError, origin.BadGateway, "", "",
		}},
		{origin.Fault{Kind: origin.Burst, Length: 4, Every: 3, Times: 2}, []origin.FaultKind{
			"", "", origin.Unavailable, origin.ServerError, origin.BadGateway, origin.Unavailable,
			"", "", origin.Unavailable, origin.ServerError, origin.BadGateway, origin.Unavailable, "", "", "",
		}},
	} {
		f := origin.NewFaults(1, true)
		f.Inject(test.fault)
		if diff := cmp.Diff(test.want, kinds(f, len(test.want))); diff != "" {
			t.Errorf("%s: %s", test.fault, diff)
		}
	}
}

func TestCountsAndClear(t *testing.T) {
	f := origin.NewFaults(1, true)
	f.Inject(origin.Fault{Kind: origin.Burst, Length: 2, Times: 1})
	f.Inject(origin.Fault{Kind: origin.Slow, Every: 2})
	kinds(f, 5)
	want := []origin.FaultCount{
		{Fault: origin.Fault{Kind: origin.Burst, Length: 2, Times: 1}, Matched: 5, Happened: 2},
		{Fault: origin.Fault{Kind: origin.Slow, Every: 2}, Matched: 3, Happened: 1},
	}
	if diff := cmp.Diff(want, f.Counts()); diff != "" {
		t.Error(diff)
	}
	f.Clear()
	if counts := f.Counts(); len(counts) != 0 {
		t.Errorf("after Clear: %+v", counts)
	}
	if f.Generic(origin.Graph, "list") != nil {
		t.Error("a cleared fault happens")
	}
}

func TestTakeLeavesGenericKinds(t *testing.T) {
	f := origin.NewFaults(1, true)
	f.Inject(origin.Fault{API: origin.Manage, Operation: "content", Kind: origin.Throttle})
	f.Inject(origin.Fault{API: origin.Manage, Operation: "content", Kind: "repeat-page", Times: 1, Bytes: 9})
	if got := f.Take(origin.Manage, "blob", "repeat-page"); got != nil {
		t.Errorf("for another operation: %+v", got)
	}
	if got := f.Take(origin.Manage, "content", "repeat-page"); got == nil || got.Kind != "repeat-page" || got.Bytes != 9 {
		t.Errorf("the API's own fault: %+v", got)
	}
	if got := f.Take(origin.Manage, "content", "repeat-page"); got != nil {
		t.Errorf("after its only time: %+v", got)
	}
	if got := f.Generic(origin.Manage, "content"); got == nil || got.Kind != origin.Throttle {
		t.Errorf("the generic fault: %+v", got)
	}
}

// A fault that names no operation, or no API, happens where it can. Where one
// that is named cannot carry it out, that is for the API to say.
func TestTakeSparesWhatCannotCarryItOut(t *testing.T) {
	f := origin.NewFaults(1, true)
	f.Inject(origin.Fault{Kind: "gone", Times: 1})
	for _, spared := range []*origin.Fault{
		f.Take(origin.Logs, "query", "partial"), f.Take(origin.Manage, "content", "not-json"), f.Take(origin.Manage, "list"),
	} {
		if spared != nil {
			t.Errorf("it happens to an operation that cannot carry it out: %+v", spared)
		}
	}
	if got := f.Take(origin.Manage, "blob", "not-json", "gone"); got == nil || got.Kind != "gone" {
		t.Errorf("it does not happen: %+v", got)
	}
	f.Inject(origin.Fault{API: origin.Manage, Operation: "content", Kind: "gone"})
	if got := f.Take(origin.Manage, "content", "not-json"); got == nil || got.Kind != "gone" {
		t.Errorf("of a named operation: %+v", got)
	}
}

func TestAmbientFaults(t *testing.T) {
	const calls = 10_000
	count := func(f *origin.Faults) map[string]int {
		n := map[string]int{}
		for range calls {
			for _, api := range origin.APIs {
				if f.Generic(api, "any") != nil {
					n[api]++
				}
			}
		}
		return n
	}
	f := origin.NewFaults(1, false)
	n := count(f)
	for api, want := range map[string][2]int{
		origin.Authority: {8, 40}, origin.Graph: {40, 105}, origin.Vault: {20, 70}, origin.Manage: {60, 140},
		origin.Logs: {0, 0}, origin.Identity: {0, 0},
	} {
		if n[api] < want[0] || n[api] > want[1] {
			t.Errorf("%d of %d calls to %s failed by themselves, want %d to %d", n[api], calls, api, want[0], want[1])
		}
	}
	happened := map[string]int{}
	for _, c := range f.Counts() {
		if happened[c.Fault.API] += c.Happened; !c.Ambient || c.Matched != calls {
			t.Errorf("counted as %+v", c)
		}
	}
	for api, n := range n {
		if happened[api] != n {
			t.Errorf("%d faults of %s are counted as %d", n, api, happened[api])
		}
	}
	if diff := cmp.Diff(n, count(origin.NewFaults(1, false))); diff != "" {
		t.Errorf("the same seed: %s", diff)
	}
	if n := count(origin.NewFaults(1, true)); len(n) != 0 {
		t.Errorf("when calm: %v", n)
	}
}

var faultTexts = []string{
	"reset", "slow,delay=1s", "graph:throttle", "graph/addKey:lost-response,every=3,times=2", "manage/blob:gone,after=4",
	"burst,length=5", "vault:stale-read,delay=1m0s", "clock-step,delay=-5m0s", "reset-body,bytes=10",
	"manage/content:newest-first,length=20", "authority:short-token,delay=3s", "authority:throttle,retry-after=2s", "logs:truncated,after=1,every=2,times=3,bytes=4",
}

func TestFaultTexts(t *testing.T) {
	for _, text := range faultTexts {
		f, err := origin.ParseFault(text)
		if err != nil || f.String() != text {
			t.Errorf("%q becomes %q, %v", text, f, err)
		}
	}
	for text, want := range map[string]origin.Fault{
		"graph/addKey:throttle,retry-after=2s,times=2,every=3,after=1": {
			API: "graph", Operation: "addKey", Kind: "throttle", After: 1, Every: 3, Times: 2, RetryAfter: 2 * time.Second,
		},
		"clock-step,delay=-1s": {Kind: "clock-step", Delay: -time.Second},
		"truncated,bytes=7":    {Kind: "truncated", Bytes: 7},
		"burst,length=4":       {Kind: "burst", Length: 4},
	} {
		if got, err := origin.ParseFault(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", ":reset", "/x:reset", "mars:reset", "graph/:reset", "graph:", "graph/a b:reset", "reset,", "reset,every", "reset,every=0",
		"reset,every=-1", "reset,every=x", "reset,every=1,every=2", "reset,speed=1", "slow,delay=1", "slow,delay=-1s", "slow,bytes=0",
		"throttle,retry-after=1500ms", "throttle,retry-after=0s", "clock-step", "stale-read,delay=11m", "control:reset",
		"slow", "throttle,bytes=3", "reset,delay=1s", "slow,delay=1s,retry-after=1s", "throttle,length=2", "short-token",
	} {
		if f, err := origin.ParseFault(text); err == nil {
			t.Errorf("%q is the fault %+v", text, f)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, text := range faultTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := origin.ParseFault(text)
		if err != nil {
			return
		}
		if again, err := origin.ParseFault(first.String()); err != nil || again != first {
			t.Errorf("%q is %+v, and its text %q is %+v, %v", text, first, first.String(), again, err)
		}
	})
}

func TestCheck(t *testing.T) {
	apis := []origin.API{
		{Name: origin.Graph, Operations: []origin.Operation{{Name: "addKey"}, {Name: "list"}}},
		{Name: origin.Manage, Operations: []origin.Operation{{Name: "blob"}}},
	}
	own := map[string][]origin.FaultKind{origin.Manage: {"gone"}}
	for _, test := range []struct {
		fault string
		ok    bool
	}{
		{"reset", true}, {"graph/addKey:reset", true}, {"graph/blob:reset", false}, {"manage/blob:gone", true},
		{"gone", true}, {"graph:gone", false}, {"nothing", false}, {"authority:expired-token", false},
	} {
		f, err := origin.ParseFault(test.fault)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Check(apis, own); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.fault, err)
		}
	}
	if err := (origin.Fault{Operation: "blob", Kind: origin.Slow}).Check(apis, own); err != nil {
		t.Errorf("an operation of any API: %v", err)
	}
}
