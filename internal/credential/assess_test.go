package credential

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAssess says of each rule when it fires, beside an application that is well.
func TestAssess(t *testing.T) {
	a, s := cred("a", Active), cred("s", Standby)
	seen := func(change func(*Observation)) part { return func(a *Application) { change(&a.Observed) } }
	key := func(k ObservedKey) part { return seen(func(o *Observation) { o.Keys = append(o.Keys, k) }) }
	behind := func(a *Application) { a.Consumers = []Consumer{{Name: "p", Generation: 7, At: at}} }
	for what, c := range map[string]struct {
		parts []part
		want  string // rules with their severity
	}{
		"all is well":                      {[]part{a, s}, ""},
		"off":                              {[]part{func(a *Application) { a.Mode = Off }, seen(func(o *Observation) { o.Gone = true })}, ""},
		"the application is gone":          {[]part{a, s, seen(func(o *Observation) { o.Gone = true })}, "critical application-gone"},
		"it cannot be read":                {[]part{a, s, seen(func(o *Observation) { o.Blind, o.Error = true, "x" })}, "info application-unreadable"},
		"it could not be read just now":    {[]part{a, s, seen(func(o *Observation) { o.Error = "x" })}, ""},
		"it could not be read for hours":   {[]part{a, s, seen(func(o *Observation) { o.Error, o.At = "x", at.Add(-2*time.Hour) })}, "warning application-unread"},
		"it was adopted, and not yet read": {[]part{a, s, func(a *Application) { a.Adopted = at }, seen(func(o *Observation) { o.Error, o.At = "x", time.Time{} })}, ""},
		"the clock is wrong":               {[]part{a, s, seen(func(o *Observation) { o.Skew, o.SkewAt = -time.Hour, at })}, "critical clock-wrong"},
		"the clock was wrong":              {[]part{a, s, seen(func(o *Observation) { o.Skew, o.SkewAt = -time.Hour, at.Add(-day) })}, ""},
		"the clock is off a little":        {[]part{a, s, seen(func(o *Observation) { o.Skew, o.SkewAt = time.Minute, at })}, ""},

		"none is in use any more":             {[]part{cred("d", Destroyed, func(c *Credential) { c.Promoted = at.Add(-day) })}, "critical certificate-none"},
		"none was ever in use":                {[]part{s}, ""},
		"it expired":                          {[]part{cred("a", Active, ends(-day)), s}, "critical certificate-expired"},
		"it is refused":                       {[]part{cred("a", Active, refused(2, time.Second)), s}, "critical certificate-refused"},
		"Graph does not show it":              {[]part{cred("a", Active, missing(time.Second)), s}, "warning certificate-missing"},
		"Graph does not, Entra ID refuses it": {[]part{cred("a", Active, missing(time.Second), refused(1, 0)), s}, "critical certificate-missing"},
		"it was refused once":                 {[]part{cred("a", Active, refused(1, time.Second)), s}, ""},
		"it ends, and no standby waits":       {[]part{cred("a", Active, ends(13*day))}, "warning certificate-due"},
		"it ends in a week, and none waits":   {[]part{cred("a", Active, ends(6*day))}, "critical certificate-due"},
		"it ends, and the standby is refused": {[]part{cred("a", Active, ends(13*day)), cred("s", Standby, refused(1, time.Second))}, "warning certificate-due"},
		"it ends, and a standby waits":        {[]part{cred("a", Active, ends(13*day)), s}, ""},
		"it ends, and no standby takes over":  {[]part{cred("a", Active, ends(5*day)), s}, "critical certificate-due"},
		"too many failed":                     {[]part{a, cred("1", Destroyed, planned(time.Hour)), cred("2", Destroyed, planned(time.Hour)), cred("3", Destroyed, planned(time.Hour))}, "warning certificate-given-up"},
		"an authority is waited for":          {[]part{a, s, cred("k", Keyed), policy(func(p *Policy) { p.Issuer = IssuerRequest })}, "warning certificate-awaited"},
		"a step is stuck":                     {[]part{a, s, cred("r", Retiring, stuck)}, "warning certificate-stuck"},
		"a key lies at a former place":        {[]part{cred("a", Active, func(c *Credential) { c.Placed = []string{"directory:/x", "directory:/y"} }), s, policy(func(p *Policy) { p.Targets = []string{"directory:/y,mode=0400"} }), func(a *Application) { a.Credentials[0].Published = a.Policy.Targets }}, "warning key-left"},
		"a key lies there after its end":      {[]part{a, s, cred("d", Destroyed, func(c *Credential) { c.Placed = []string{"keyvault:x"} })}, "warning key-left"},
		"somebody removed one":                {[]part{a, s, cred("l", Lost, func(c *Credential) { c.Since = at.Add(-day) })}, "warning certificate-lost"},
		"somebody removed one long ago":       {[]part{a, s, cred("l", Lost)}, ""},
		"one that was removed is back":        {[]part{a, s, cred("r", Retired), key(ObservedKey{KeyID: "k", Ours: "r", End: at.Add(80 * day)})}, "critical certificate-back"},
		"one was removed a minute ago":        {[]part{a, s, cred("r", Retired, func(c *Credential) { c.Since = at.Add(-2 * time.Minute) }), key(ObservedKey{KeyID: "k", Ours: "r", End: at.Add(80 * day)})}, ""},
		"a program is behind":                 {[]part{a, s, cred("d", Draining), behind}, "warning consumer-behind"},
		"a program is behind nothing":         {[]part{a, s, behind}, ""},
		"a hook fails":                        {[]part{a, s, func(a *Application) { a.Deploys = []Deploy{{Credential: "a", Hook: "h", Attempts: 3}} }}, "warning deploy-failing"},
		"a hook failed twice":                 {[]part{a, s, func(a *Application) { a.Deploys = []Deploy{{Credential: "a", Hook: "h", Attempts: 2}} }}, ""},
		"a live place has another":            {[]part{a, s, seen(func(o *Observation) { o.Targets = map[string]string{"x": "another"} })}, "warning target-drifted"},

		"another's secret ends":             {[]part{a, s, key(ObservedKey{KeyID: "k", End: at.Add(13 * day), Secret: true})}, "warning foreign-due"},
		"another's certificate ends soon":   {[]part{a, s, key(ObservedKey{KeyID: "k", End: at.Add(day)})}, "critical foreign-due"},
		"another's certificate is good":     {[]part{a, s, key(ObservedKey{KeyID: "k", End: at.Add(31 * day)})}, ""},
		"another's certificate has expired": {[]part{a, s, key(ObservedKey{KeyID: "k", End: at})}, "info foreign-expired"},
		"ours is not another's":             {[]part{a, s, key(ObservedKey{KeyID: "k", Ours: "a", End: at})}, ""},
		"observed alone":                    {[]part{cred("a", Active, ends(-day)), func(a *Application) { a.Mode = Observe }, key(ObservedKey{KeyID: "k", End: at})}, "critical certificate-due, info foreign-expired"},
		"the worst first":                   {[]part{cred("a", Active, ends(-day)), s, key(ObservedKey{KeyID: "k", End: at}), func(a *Application) { a.Deploys = []Deploy{{Credential: "a", Hook: "h", Attempts: 3}} }}, "critical certificate-expired, warning deploy-failing, info foreign-expired"},
	} {
		t.Run(what, func(t *testing.T) {
			var got []string
			for _, f := range Assess(at, application(c.parts...)) {
				got = append(got, string(f.Severity)+" "+f.Rule)
				if f.Message == "" || f.Remedy == "" && f.Rule != "certificate-stuck" || f.Severity == Critical && f.Notice == "" {
					t.Errorf("%+v says not enough", f)
				}
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("found %q, want %q", text, c.want)
			}
		})
	}
}

// TestAssessIsStable finds the same in the same order, so that nothing is written anew.
func TestAssessIsStable(t *testing.T) {
	a := application(cred("a", Active), cred("s", Standby), func(a *Application) {
		a.Observed.Targets = map[string]string{"1": "x", "2": "x", "3": "x", "4": "x", "5": "x"}
	})
	for range 50 {
		if !slices.Equal(Assess(at, a), Assess(at, a)) {
			t.Fatal("two orders")
		}
	}
}

// TestNotice is the smallest number of days that was reached.
func TestNotice(t *testing.T) {
	for left, want := range map[time.Duration]int{31 * day: 0, 30 * day: 30, 15 * day: 30, 14 * day: 14, 2 * day: 7, day: 1, -day: 1} {
		if got := notice(at, at.Add(left), []int{7, 30, 1, 14}); got != want {
			t.Errorf("%v before: %d, want %d", left, got, want)
		}
	}
}

// TestPlacesByAnyName names a certificate in the usual vault in each way that there is: it
// is one place.
func TestPlacesByAnyName(t *testing.T) {
	const short, long = "keyvault:Live", "keyvault:https://V.vault.azure.net/certificates/live,format=pem"
	for _, x := range []struct {
		policy, had string
		former      int
	}{
		{short, long, 0}, {long, short, 0}, {short, short + ",format=pem", 0},
		{"keyvault:https://w.vault.azure.net/certificates/live", short, 1},
		{"keyvault:other", short, 1}, {"directory:/etc/App", "directory:/etc/app", 1},
	} {
		a := application(cred("a", Active, func(c *Credential) { c.Published, c.Placed = []string{x.had}, []string{x.had} }))
		a.Vault, a.Policy.Targets = "https://v.vault.azure.net/", []string{x.policy}
		c, _ := a.Find("a")
		if former := a.Former(c); len(former) != x.former {
			t.Errorf("the policy has %s, and the certificate was at %s: former places are %q", x.policy, x.had, former)
		}
		if places := a.Places(c); len(places) != 1+x.former {
			t.Errorf("the policy has %s, and the certificate was at %s: places are %q", x.policy, x.had, places)
		}
	}
}
