package credential

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// at is when these tests look.
var at = time.Date(2027, 3, 10, 12, 0, 0, 0, time.UTC) // a Wednesday

const token = "https://graph"

// part changes an application or one credential of it.
type part func(*Application)

// cred is a credential in a state as it usually is: of 180 days, made ten days ago,
// registered, and proved this morning.
func cred(id string, s State, change ...func(*Credential)) part {
	return func(a *Application) {
		c := Credential{ID: id, SHA1: "sha1-" + id, State: s, Origin: Made, Store: StoreLocal, Reason: "test", Planned: at.Add(-10 * day), Since: at.Add(-9 * day)}
		if s != Planned && s != Keyed {
			c.NotBefore, c.NotAfter = at.Add(-10*day), at.Add(170*day)
		}
		if s.AtEntra() || s == Abandoned {
			c.Sent, c.Registered = at.Add(-10*day), at.Add(-10*day)
			c.Probed = at.Add(-20 * time.Minute)
			c.Proofs = map[string]Proof{token: {Since: at.Add(-9 * day), Last: c.Probed, Count: 9}}
		}
		if s == Standby || s == Active || s == Draining {
			c.Ready = at.Add(-9 * day)
		}
		if s == Active || s == Draining || s == Retiring || s == Compromised {
			c.Promoted, c.Generation = at.Add(-8*day), 8
		}
		if s == Publishing {
			c.Generation = 9
		}
		if s == Draining {
			c.DrainUntil = at.Add(-time.Hour)
		}
		for _, f := range change {
			f(&c)
		}
		c.RenewAt = RenewAt(c.ID, c.NotBefore, c.NotAfter, a.Policy)
		a.Credentials = append(a.Credentials, c)
	}
}

// ends moves a credential's 180 days so that they end after d.
func ends(d time.Duration) func(*Credential) {
	return func(c *Credential) { c.NotAfter = at.Add(d); c.NotBefore = c.NotAfter.Add(-180 * day) }
}

func lives(d time.Duration) func(*Credential) {
	return func(c *Credential) { c.NotAfter = c.NotBefore.Add(d) }
}

func planned(ago time.Duration) func(*Credential) {
	return func(c *Credential) { c.Planned = at.Add(-ago) }
}

func refused(n int, ago time.Duration) func(*Credential) {
	return func(c *Credential) {
		c.Refusals, c.Refused, c.Probed, c.RefusedCode = n, at.Add(-ago), at.Add(-probeGap), 700027
	}
}

// wished is of a credential that was made because of a wish a minute ago.
func wished(c *Credential) { c.Planned, c.Wished = at, at.Add(-time.Minute) }

func missing(ago time.Duration) func(*Credential) {
	return func(c *Credential) { c.Missing = at.Add(-ago) }
}

func proved(ago time.Duration) func(*Credential) {
	return func(c *Credential) {
		c.Probed = at.Add(-ago)
		c.Proofs = map[string]Proof{token: {Since: at.Add(-day), Last: c.Probed, Count: 9}}
	}
}

func stuck(c *Credential) { c.Attempts, c.Stuck, c.Error = 3, true, "it fails" }

func asks(kind WishKind, id string, ago time.Duration) part {
	return func(a *Application) {
		a.Wishes = append(a.Wishes, Wish{Kind: kind, Credential: id, By: "eve", At: at.Add(-ago)})
	}
}

func application(parts ...part) Application {
	a := Application{ObjectID: "object", ClientID: "client", Name: "app", Mode: On, Adopted: at.Add(-100 * day), Generation: 8}
	a.Policy = Policy{}.Complete(token)
	a.Observed = Observation{At: at.Add(-time.Minute)}
	for _, f := range parts {
		f(&a)
	}
	return a
}

func policy(change func(*Policy)) part { return func(a *Application) { change(&a.Policy) } }

// due tells what of the plan is due, in order: "renew x!" in an emergency.
func due(a Application) string {
	var steps []string
	for _, s := range Plan(at, a, UsualRhythm) {
		if s.Due(at) {
			text := strings.TrimSpace(string(s.Action) + " " + s.Credential)
			if s.Emergency {
				text += "!"
			}
			steps = append(steps, text)
		}
	}
	return strings.Join(steps, ", ")
}

// TestPlan says what is due in each state and circumstance. Where neither is said there
// is an active certificate a, and a standby s, and nothing is due.
func TestPlan(t *testing.T) {
	a, s := cred("a", Active), cred("s", Standby)
	closed := policy(func(p *Policy) {
		p.Windows = []Window{{Days: []time.Weekday{time.Sunday}, From: 2 * time.Hour, To: 4 * time.Hour}}
	})
	open := policy(func(p *Policy) { p.Windows = []Window{{From: 11 * time.Hour, To: 13 * time.Hour}} })
	byRequest := policy(func(p *Policy) { p.Issuer = IssuerRequest })
	toVault := policy(func(p *Policy) { p.Targets = []string{"keyvault:x"} })
	hooks := func(names ...string) part { return policy(func(p *Policy) { p.Hooks = names }) }
	deploys := func(id string, in time.Duration) part {
		return func(a *Application) { a.Deploys = []Deploy{{Credential: id, Hook: "h", DueAt: at.Add(in)}} }
	}
	skew := func(a *Application) { a.Observed.Skew, a.Observed.SkewAt = time.Hour, at.Add(-time.Minute) }
	published := func(c *Credential) { c.Published = []string{"keyvault:x"} }
	old, fresh := ends(50*day), proved(5*time.Minute)
	forIt := func(c *Credential) { c.Wished = at.Add(-4 * time.Hour) }
	ahead := func(c *Credential) { c.Wished = at.Add(365 * day) } // the wish was dated by a clock that was wrong
	nothing := ""
	soon := func(a *Application) { // the active one is due tomorrow, and the standby ten days later
		a.Credentials[0].RenewAt, a.Credentials[1].RenewAt = at.Add(day), at.Add(10*day)
	}

	for what, c := range map[string]struct {
		parts []part
		want  string
	}{
		// On the way to be a standby.
		"all is well":                             {[]part{a, s}, nothing},
		"nothing is there":                        {nil, "create"},
		"no standby waits":                        {[]part{a}, "create"},
		"one is decided on":                       {[]part{a, cred("n", Planned)}, "make key n"},
		"the key is there":                        {[]part{a, cred("n", Keyed)}, "certify n"},
		"the authority is asked":                  {[]part{a, cred("n", Keyed), byRequest}, nothing},
		"the authority was asked, and is no more": {[]part{a, cred("n", Keyed, stuck)}, "abandon n"},
		"the clock is wrong":                      {[]part{a, cred("n", Keyed), skew}, "prove a"},
		"the clock was wrong an hour ago":         {[]part{a, cred("n", Keyed), func(a *Application) { a.Observed.Skew, a.Observed.SkewAt = time.Hour, at.Add(-SkewKnown) }}, "certify n"},
		"the certificate is there":                {[]part{a, cred("n", Certified)}, "stage n"},
		"it was read back":                        {[]part{a, cred("n", Staged)}, "register n"},
		"the list was just changed":               {[]part{a, cred("n", Staged), func(a *Application) { a.Wrote = at }}, nothing},
		"the answer was lost":                     {[]part{a, cred("n", Registering)}, "find n"},
		"Graph took it, and it vanished":          {[]part{a, cred("n", Staged, func(c *Credential) { c.Vanished = 4 })}, "register n"},
		"Graph took it, and it always vanished":   {[]part{a, cred("n", Staged, func(c *Credential) { c.Vanished = 5 })}, "abandon n"},
		"Graph took it":                           {[]part{a, cred("n", Registered)}, "confirm n"},
		"Graph does not show it":                  {[]part{a, cred("n", Registered, func(c *Credential) { c.ReadAt = at.Add(-time.Second) })}, "confirm n"},
		"tokens are awaited":                      {[]part{a, cred("n", Proving)}, "prove n"},
		"a token was just asked for":              {[]part{a, cred("n", Proving, proved(0))}, nothing},
		"it goes on being refused":                {[]part{a, cred("n", Proving, refused(5, time.Hour))}, "abandon n"},
		"it failed, and waits":                    {[]part{a, cred("n", Staged, func(c *Credential) { c.RetryAt = at.Add(time.Hour) })}, nothing},
		"it got old on its way":                   {[]part{a, cred("n", Staged, old)}, "abandon n"},
		"it is stuck for days":                    {[]part{a, cred("n", Staged, stuck)}, "abandon n"},
		"it is stuck since an hour":               {[]part{a, cred("n", Staged, stuck, planned(time.Hour))}, "register n"},
		"nothing works, and it waits for hours":   {[]part{cred("a", Active, ends(-day), refused(2, day)), cred("n", Staged, func(c *Credential) { c.Attempts, c.RetryAt = 12, at.Add(time.Hour) })}, "register n!"},
		"the clock was a year ahead when it wrote": {[]part{a, cred("n", Proving, func(c *Credential) {
			c.Probed, c.RetryAt, c.Registered = at.Add(365*day), at.Add(365*day), at.Add(365*day)
		})}, "prove n"},

		// Promotion.
		"the active one is due":            {[]part{cred("a", Active, old), s}, "promote s"},
		"it is due, and no window is open": {[]part{cred("a", Active, old), s, closed}, nothing},
		"the active one lives for a day":   {[]part{cred("a", Active, func(c *Credential) { c.NotBefore, c.NotAfter = at.Add(-23*time.Hour), at.Add(time.Hour) }), s, closed}, "promote s!"},
		"it lives for a day, and is the younger": {[]part{cred("a", Active, planned(99*day), func(c *Credential) {
			c.NotBefore, c.NotAfter, c.Replaces = at.Add(-23*time.Hour), at.Add(time.Hour), "d"
		}), s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) })}, "promote s!"},
		"it is due, and a window is open":             {[]part{cred("a", Active, old), s, open}, "promote s"},
		"it ends before the next window":              {[]part{cred("a", Active, ends(8*day)), s, closed}, "promote s!"},
		"renewing late keeps to windows":              {[]part{policy(func(p *Policy) { p.RenewBefore = Before{Span: Span(5 * day)}; p.Overlap = Span(day) }), cred("a", Active, ends(4*day+time.Hour)), s, closed}, nothing},
		"it expired":                                  {[]part{cred("a", Active, ends(-time.Hour), refused(2, time.Hour)), s, closed}, "promote s!"},
		"it expired by our clock":                     {[]part{cred("a", Active, ends(-time.Minute)), s}, "promote s!, prove a"},
		"it is refused since a minute":                {[]part{cred("a", Active, refused(2, 2*time.Minute)), s, closed}, "promote s!, prove a"},
		"it was refused once":                         {[]part{cred("a", Active, refused(1, 2*time.Minute)), s}, "prove a"},
		"it was removed by somebody":                  {[]part{cred("a", Active, refused(2, 30*time.Second), missing(3*time.Minute)), s}, "promote s!, give up a"},
		"it was removed, and refused twice":           {[]part{cred("a", Active, refused(2, 30*time.Second), missing(30*time.Second)), s, closed}, "promote s!, look, prove a"},
		"it was removed, and refused once":            {[]part{cred("a", Active, refused(1, 30*time.Second), missing(30*time.Second)), s}, "look, prove a"},
		"Graph does not show it since now":            {[]part{cred("a", Active, missing(0)), s}, "look, prove a"},
		"Graph does not show it, and it just worked":  {[]part{cred("a", Active, missing(30*time.Second), proved(30*time.Second)), s}, "look, prove a"},
		"Graph did not show it when it was looked at": {[]part{cred("a", Active, missing(time.Minute), proved(0)), s}, "look"},
		"one that drains was removed by somebody":     {[]part{a, s, cred("d", Draining, refused(2, time.Hour), missing(time.Hour), func(c *Credential) { c.DrainUntil = at.Add(day) })}, "give up d"},
		"Graph does not show it, and it works":        {[]part{cred("a", Active, missing(10*time.Minute)), s}, "prove a"},
		"it is lost":                                  {[]part{cred("a", Lost, func(c *Credential) { c.Promoted = at.Add(-day); c.DestroyAfter = at.Add(day) }), s, closed}, "promote s!"},
		"it is lost, and its predecessor drains":      {[]part{cred("d", Draining)}, "promote d!, create!"},
		"none was ever active":                        {[]part{s, open}, "promote s"},
		"none was ever active, and no window is open": {[]part{s, closed}, nothing},
		"it cannot be proved, and the standby can":    {[]part{cred("a", Active, stuck, proved(3*day)), s, func(a *Application) { a.Credentials[0].FailedAt = at.Add(-2 * day) }}, "promote s!, prove a"},
		"the standby has a shorter life":              {[]part{cred("a", Active, old), cred("s", Standby, lives(40*day))}, "promote s"},
		"one is being published":                      {[]part{cred("a", Active, old), s, cred("p", Publishing, fresh)}, "publish p"},
		"one was to be published a while ago":         {[]part{cred("a", Active, old), s, cred("p", Publishing)}, "prove p"},
		"the one being published is refused":          {[]part{a, cred("p", Publishing, refused(2, time.Minute), stuck)}, "abandon p, create"},
		"it cannot be published, and the old expired": {[]part{toVault, cred("a", Active, ends(-day), refused(2, day)), cred("p", Publishing, stuck, fresh)}, "publish p!, create!"},
		"a later one has been published":              {[]part{a, s, cred("p", Publishing, func(c *Credential) { c.Generation = 7 })}, "drain p"},
		"a rollback is refused":                       {[]part{a, s, cred("p", Publishing, refused(2, time.Minute), func(c *Credential) { c.Promoted = at.Add(-day) })}, "drain p"},
		"a live place is new":                         {[]part{toVault, a, s}, "publish a"},
		"all live places have it":                     {[]part{toVault, cred("a", Active, published), s}, nothing},

		// Standbys.
		"a standby gets old":                     {[]part{a, cred("s", Standby, old)}, "create"},
		"a standby would not last":               {[]part{a, s, soon}, "create"},
		"one that will last waits":               {[]part{a, s, cred("n", Standby, planned(time.Hour)), soon}, nothing},
		"a younger one is there":                 {[]part{a, cred("s", Standby, old), cred("n", Standby)}, "abandon s"},
		"a younger one has a shorter life":       {[]part{a, cred("s", Standby, old), cred("n", Standby, lives(45*day))}, "abandon s"},
		"a standby is refused":                   {[]part{a, cred("s", Standby, refused(2, 5*time.Minute))}, "prove s, create"},
		"a standby is refused for long":          {[]part{a, cred("s", Standby, refused(2, time.Hour))}, "abandon s, create"},
		"a standby was removed by somebody":      {[]part{a, cred("s", Standby, refused(2, time.Minute), missing(5*time.Minute))}, "give up s, create"},
		"a standby expired, says our clock":      {[]part{a, cred("s", Standby, ends(-time.Minute))}, "prove s, create"},
		"a standby expired, says Entra ID":       {[]part{a, cred("s", Standby, ends(-time.Hour), refused(2, time.Minute))}, "abandon s, create"},
		"a standby's key cannot be read":         {[]part{a, cred("s", Standby, stuck)}, "create"},
		"three failed in a row":                  {[]part{a, cred("1", Destroyed, planned(3*time.Hour)), cred("2", Destroyed, planned(2*time.Hour)), cred("3", Abandoned, planned(time.Hour), func(c *Credential) { c.Sent = time.Time{} })}, "destroy 3"},
		"six were made within a day":             {[]part{a, cred("1", Destroyed, planned(1*time.Hour)), cred("2", Destroyed, planned(2*time.Hour)), cred("3", Destroyed, planned(3*time.Hour)), cred("4", Destroyed, planned(4*time.Hour)), cred("5", Destroyed, planned(5*time.Hour)), cred("6", Destroyed, planned(6*time.Hour))}, nothing},
		"three failed, and nothing works":        {[]part{cred("l", Lost, func(c *Credential) { c.Promoted, c.DestroyAfter = at.Add(-day), at.Add(day) }), cred("1", Destroyed, planned(3*time.Hour)), cred("2", Destroyed, planned(2*time.Hour)), cred("3", Destroyed, planned(2*time.Hour))}, "create!"},
		"three failed, and a person asks":        {[]part{a, cred("1", Destroyed, planned(3*time.Hour)), cred("2", Destroyed, planned(2*time.Hour)), cred("3", Destroyed, planned(2*time.Hour)), asks(Renew, "", time.Minute)}, "create"},
		"six were made, the last but one wished": {[]part{a, cred("1", Destroyed, planned(1*time.Hour)), cred("2", Destroyed, planned(2*time.Hour), func(c *Credential) { c.Wished = at.Add(-2 * time.Hour) }), cred("3", Destroyed, planned(3*time.Hour)), cred("4", Destroyed, planned(4*time.Hour)), cred("5", Destroyed, planned(5*time.Hour)), cred("6", Destroyed, planned(6*time.Hour))}, "create"},
		"three failed, all for one wish":         {[]part{a, s, cred("1", Destroyed, planned(3*time.Hour), forIt), cred("2", Destroyed, planned(2*time.Hour), forIt), cred("3", Destroyed, planned(time.Hour), forIt), asks(Renew, "", 4*time.Hour)}, nothing},
		"three failed for a wish, by a clock":    {[]part{a, s, cred("1", Destroyed, planned(3*time.Hour), ahead), cred("2", Destroyed, planned(2*time.Hour), ahead), cred("3", Destroyed, planned(time.Hour), ahead), asks(Renew, "", -365*day)}, nothing},
		"three failed for a wish, and another":   {[]part{a, s, cred("1", Destroyed, planned(3*time.Hour), forIt), cred("2", Destroyed, planned(2*time.Hour), forIt), cred("3", Destroyed, planned(time.Hour), forIt), asks(Renew, "", time.Minute)}, "create"},
		"six were made for one wish":             {[]part{a, cred("1", Destroyed, planned(1*time.Hour), forIt), cred("2", Destroyed, planned(2*time.Hour), forIt), cred("3", Destroyed, planned(3*time.Hour), forIt), cred("4", Destroyed, planned(210*time.Minute), forIt), cred("5", Destroyed, planned(220*time.Minute), forIt), cred("6", Destroyed, planned(230*time.Minute), forIt)}, nothing},
		"three failed since a person asked":      {[]part{a, cred("1", Destroyed, planned(3*time.Hour)), cred("2", Destroyed, planned(2*time.Hour)), cred("3", Destroyed, planned(time.Hour)), asks(Renew, "", day)}, nothing},

		// Retirement.
		"its time is over":                      {[]part{a, s, cred("d", Draining)}, "retire d"},
		"its time is not over":                  {[]part{a, s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) })}, nothing},
		"no window is open for it":              {[]part{a, s, closed, cred("d", Draining)}, nothing},
		"no standby waits beside it":            {[]part{a, cred("d", Draining)}, "create"},
		"a live place has it still":             {[]part{toVault, cred("a", Active, func(c *Credential) { c.Attempts, c.RetryAt = 1, at.Add(time.Hour) }), s, cred("d", Draining)}, nothing},
		"the active one was refused":            {[]part{cred("a", Active, refused(1, time.Minute)), s, cred("d", Draining, ends(-day))}, "prove a"},
		"a program has it still":                {[]part{a, s, cred("d", Draining), func(a *Application) { a.Consumers = []Consumer{{Name: "p", Generation: 7, At: at.Add(-time.Hour)}} }}, nothing},
		"a program has it, and is silent":       {[]part{a, s, cred("d", Draining), func(a *Application) { a.Consumers = []Consumer{{Name: "p", Generation: 7, At: at.Add(-4 * day)}} }}, "retire d"},
		"it expired, with the program":          {[]part{a, s, cred("d", Draining, ends(-day)), func(a *Application) { a.Consumers = []Consumer{{Name: "p", Generation: 7, At: at}} }}, "retire d"},
		"the clock is wrong, and its time over": {[]part{cred("a", Active, fresh), s, cred("d", Draining), skew, func(a *Application) { a.Credentials[1].Probed = at }}, "prove a"},
		"it goes: the active one is proved":     {[]part{a, s, cred("r", Retiring)}, "prove a"},
		"it goes: the active one was proved":    {[]part{cred("a", Active, fresh), s, cred("r", Retiring)}, "remove r"},
		"it goes: the active one is refused":    {[]part{cred("a", Active, refused(1, time.Second)), s, cred("r", Retiring)}, "prove a"},
		"it was taken away":                     {[]part{a, s, cred("r", Retiring, func(c *Credential) { c.Removed = at.Add(-time.Minute) })}, "see it gone r"},
		"it was seen to be gone":                {[]part{a, s, cred("r", Retiring, func(c *Credential) { c.Removed, c.Gone = at.Add(-time.Hour), at.Add(-time.Hour) })}, "see refused r"},
		"it was seen to be refused":             {[]part{a, s, cred("r", Retired, func(c *Credential) { c.DestroyAfter = at })}, "destroy r"},
		"its key is kept":                       {[]part{a, s, cred("r", Retired, func(c *Credential) { c.DestroyAfter = at.Add(day) })}, nothing},
		"it is revoked, and the active":         {[]part{cred("r", Compromised), s}, "promote s!"},
		"it is revoked, and another is active":  {[]part{cred("a", Active, fresh), s, cred("r", Compromised)}, "remove r!"},
		"it is revoked, and never left":         {[]part{cred("r", Compromised, func(c *Credential) { c.Sent, c.Promoted = time.Time{}, time.Time{} }), s, closed}, "destroy r"},
		"it was given up, and may be there":     {[]part{a, s, cred("x", Abandoned)}, "remove x"},

		// What people ask for.
		"renew":                                {[]part{a, s, asks(Renew, "", time.Minute)}, "create"},
		"renew, just now":                      {[]part{a, s, asks(Renew, "", 0)}, "create"},
		"renew, and the clock was set back":    {[]part{a, s, asks(Renew, "", -time.Hour)}, "create"},
		"renew, and a fresh one is coming":     {[]part{a, s, cred("n", Planned, wished), asks(Renew, "", time.Minute)}, "make key n"},
		"renew, and a fresh one waits":         {[]part{a, s, cred("n", Standby, wished), asks(Renew, "", time.Minute), closed}, "promote n"},
		"renew, and the fresh ends before":     {[]part{a, s, cred("n", Standby, wished, lives(40*day)), asks(Renew, "", time.Minute)}, "promote n"},
		"promote":                              {[]part{a, s, asks(Promote, "", time.Minute), closed}, "promote s"},
		"promote, by a clock a year ahead":     {[]part{a, s, asks(Promote, "s", -365*day), closed}, "promote s"},
		"go back, by a clock a year ahead":     {[]part{a, s, cred("d", Draining), asks(Rollback, "d", -365*day)}, "promote d"},
		"retire, by a clock a year ahead":      {[]part{a, s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) }), asks(Retire, "d", -365*day)}, "retire d"},
		"promote the other":                    {[]part{a, s, cred("o", Standby, ends(160*day)), asks(Promote, "sha1-o", time.Minute)}, "promote o"},
		"promote one that is refused":          {[]part{a, cred("s", Standby, refused(1, time.Minute)), asks(Promote, "", time.Minute)}, "prove s"},
		"rollback":                             {[]part{a, s, cred("d", Draining), asks(Rollback, "", time.Minute)}, "promote d"},
		"rollback to one refused just now":     {[]part{a, s, cred("d", Draining, refused(1, 0), func(c *Credential) { c.Probed = at }), asks(Rollback, "", time.Minute)}, nothing},
		"rollback is not undone by the date":   {[]part{cred("a", Active, old, planned(99*day), func(c *Credential) { c.Replaces = "d" }), s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) })}, nothing},
		"rollback is undone before it is late": {[]part{cred("a", Active, ends(8*day), planned(99*day), func(c *Credential) { c.Replaces = "d" }), s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) })}, "promote s!"},
		"retire":                               {[]part{a, s, cred("d", Draining, func(c *Credential) { c.DrainUntil = at.Add(day) }), asks(Retire, "", time.Minute)}, "retire d"},
		"retire, with the active one refused":  {[]part{cred("a", Active, refused(1, time.Second)), s, cred("d", Draining), asks(Retire, "", time.Minute)}, "prove a"},

		// Modes, and looks.
		"observed":                          {[]part{func(a *Application) { a.Mode = Observe }}, nothing},
		"never looked at":                   {[]part{a, s, func(a *Application) { a.Observed = Observation{} }}, "look"},
		"looked at in the future":           {[]part{a, s, func(a *Application) { a.Observed.At = at.Add(365 * day) }}, "look"},
		"the application is gone":           {[]part{func(a *Application) { a.Observed.Gone = true }}, nothing},
		"a hook is due":                     {[]part{a, s, hooks("h"), deploys("a", 0)}, "deploy a"},
		"a hook is due in a year":           {[]part{a, s, hooks("h"), deploys("a", 365*day)}, "deploy a"},
		"a hook is due in an hour":          {[]part{a, s, hooks("h"), deploys("a", time.Hour)}, nothing},
		"a hook that the policy has not":    {[]part{a, s, hooks("other"), deploys("a", time.Hour)}, "deploy a"},
		"a hook for one that is not in use": {[]part{a, s, hooks("h"), cred("d", Retired, func(c *Credential) { c.DestroyAfter = at.Add(day) }), deploys("d", time.Hour)}, "deploy d"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := due(application(c.parts...)); got != c.want {
				t.Errorf("due: %q, want %q\n%s", got, c.want, explainPlan(application(c.parts...)))
			}
		})
	}
}

func explainPlan(a Application) string {
	var b strings.Builder
	for _, s := range Plan(at, a, UsualRhythm) {
		fmt.Fprintf(&b, "  %s %s at %v: %s\n", s.Action, s.Credential, s.At, s.Why)
	}
	return b.String()
}

// TestPlanOff plans nothing at all.
func TestPlanOff(t *testing.T) {
	if steps := Plan(at, application(func(a *Application) { a.Mode = Off }), UsualRhythm); steps != nil {
		t.Errorf("planned: %v", steps)
	}
}

// TestPlanChangesNothing plans for a record from the future, and leaves it as it was.
func TestPlanChangesNothing(t *testing.T) {
	a := application(cred("a", Active, func(c *Credential) { c.Probed = at.Add(day) }))
	Plan(at, a, UsualRhythm)
	if !a.Credentials[0].Probed.Equal(at.Add(day)) {
		t.Error("the application that was given has changed")
	}
}

// TestFulfilled says which wishes are over.
func TestFulfilled(t *testing.T) {
	a, s, d := cred("a", Active), cred("s", Standby), cred("d", Draining)
	inVain := []string{"the named one is gone", "nothing to roll back to", "what there is to roll back is refused", "the active one is not retired",
		"of what nobody knows", "of a kind that there is not"}
	for what, c := range map[string]struct {
		parts []part
		want  bool
	}{
		"renewed":                               {[]part{cred("a", Active, wished), asks(Renew, "", time.Minute)}, true},
		"not renewed":                           {[]part{a, asks(Renew, "", time.Minute)}, false},
		"promoted":                              {[]part{cred("a", Active, func(c *Credential) { c.Promoted = at }), asks(Promote, "", time.Minute)}, true},
		"not promoted":                          {[]part{a, s, asks(Promote, "", time.Minute)}, false},
		"promoted, with the clock set back":     {[]part{a, asks(Promote, "a", -time.Hour)}, true},
		"the named one waits":                   {[]part{a, s, asks(Promote, "s", time.Minute)}, false},
		"the named one is gone":                 {[]part{a, cred("s", Abandoned), asks(Promote, "s", time.Minute)}, true},
		"rolled back":                           {[]part{cred("a", Active, func(c *Credential) { c.Promoted = at }), d, asks(Rollback, "", time.Minute)}, true},
		"rolled back, with the clock set back":  {[]part{a, d, asks(Rollback, "a", -time.Hour)}, true},
		"not rolled back":                       {[]part{a, d, asks(Rollback, "", time.Minute)}, false},
		"nothing to roll back to":               {[]part{a, asks(Rollback, "", time.Minute)}, true},
		"what there is to roll back is refused": {[]part{a, cred("d", Draining, refused(3, time.Minute)), asks(Rollback, "", time.Minute)}, true},
		"retired":                               {[]part{a, cred("d", Retiring), asks(Retire, "d", time.Minute)}, true},
		"not retired":                           {[]part{a, d, asks(Retire, "", time.Minute)}, false},
		"the active one is not retired":         {[]part{a, asks(Retire, "a", time.Minute)}, true},
		"revoked":                               {[]part{a, cred("d", Compromised), asks(Revoke, "d", time.Minute)}, true},
		"not revoked":                           {[]part{a, d, asks(Revoke, "d", time.Minute)}, false},
		"of what nobody knows":                  {[]part{a, d, asks(Retire, "nobody", time.Minute)}, true},
		"of a kind that there is not":           {[]part{a, asks("dance", "a", time.Minute)}, true},
	} {
		t.Run(what, func(t *testing.T) {
			a := application(c.parts...)
			if done := a.Fulfilled(); (len(done) == 1) != c.want {
				t.Errorf("over: %v, want %v", done, c.want)
			}
			if vain := c.want && a.InVain(a.Wishes[0]); vain != slices.Contains(inVain, what) {
				t.Errorf("in vain: %t", vain)
			}
		})
	}
}

// TestProven asks for enough tokens over enough time, for each resource, whichever way
// the clock was set between.
func TestProven(t *testing.T) {
	for what, c := range map[string]struct {
		p    Proof
		want bool
	}{
		"enough":                 {Proof{Since: at, Last: at.Add(time.Minute), Count: 3}, true},
		"too few":                {Proof{Since: at, Last: at.Add(time.Hour), Count: 2}, false},
		"too soon":               {Proof{Since: at, Last: at.Add(59 * time.Second), Count: 9}, false},
		"the clock was set back": {Proof{Since: at, Last: at.Add(-time.Hour), Count: 3}, true},
	} {
		if got := (Credential{Proofs: map[string]Proof{token: c.p}}).Proven([]string{token}); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if (Credential{}).Proven(nil) || (Credential{Proofs: map[string]Proof{token: {Since: at, Last: at.Add(time.Hour), Count: 9}}}).Proven([]string{token, "https://other"}) {
		t.Error("proven without a proof for each resource")
	}
}

// TestRetryAfter has a service ask to wait, or reeve itself wait for an hour between two
// tries to take a compromised certificate away: no emergency shortens that.
func TestRetryAfter(t *testing.T) {
	until := at.Add(time.Hour)
	for name, parts := range map[string][]part{
		"revoked": {cred("a", Active, func(c *Credential) { c.Proofs[token] = Proof{Since: at.Add(-day), Last: at, Count: 9} }), cred("b", Compromised, func(c *Credential) {
			c.Attempts, c.RetryAt, c.RetryAfter = 9, at.Add(time.Hour), until
		})},
		"nothing works": {cred("a", Draining, func(c *Credential) { c.Refusals = 3 }), cred("b", Publishing, func(c *Credential) {
			c.Attempts, c.RetryAt, c.RetryAfter = 9, at.Add(Backoff("b", 9)), until
		})},
		"a look": {cred("a", Active), func(a *Application) {
			a.Observed.Attempts, a.Observed.FailedAt, a.Observed.RetryAfter = 1, at, until
		}},
	} {
		id, found := "b", false
		if name == "a look" {
			id = ""
		}
		for _, s := range Plan(at, application(parts...), UsualRhythm) {
			if s.Credential != id || s.Action == Create {
				continue
			}
			found = true
			if s.At.Before(until) {
				t.Errorf("%s: %s is planned for %v, before %v", name, s.Action, s.At, until)
			}
		}
		if !found {
			t.Errorf("%s: nothing is planned", name)
		}
	}
}

// TestBegun: what came to nothing does not keep a wish from being taken back.
func TestBegun(t *testing.T) {
	wish := asks(Renew, "", time.Minute)
	for state, want := range map[State]bool{Planned: true, Staged: true, Standby: true, Publishing: true, Abandoned: false, Destroyed: false, Lost: false} {
		a := application(cred("a", Active), cred("n", state, wished), wish)
		if got := a.Begun(a.Wishes[0]); (got != "") != want {
			t.Errorf("%s: %q", state, got)
		}
	}
	for kind, state := range map[WishKind]State{Promote: Publishing, Rollback: Publishing, Retire: Retiring, Revoke: Compromised} {
		for _, s := range []State{state, Standby, Draining} {
			a := application(cred("a", Active), cred("n", s), asks(kind, "n", time.Minute))
			if got := a.Begun(a.Wishes[0]); (got != "") != (s == state) {
				t.Errorf("%s of one that is %s: %q", kind, s, got)
			}
		}
	}
}

// TestPlaceHoldsUpNoProof: that a live place fails for hours does not keep the certificate in
// use from being proved, only what a service asked to wait does.
func TestPlaceHoldsUpNoProof(t *testing.T) {
	for _, c := range []struct {
		failing Action
		after   time.Duration
		want    string
	}{{Publish, 0, "look, prove a"}, {Publish, time.Hour, "look"}, {Prove, 0, "look"}} {
		a := application(policy(func(p *Policy) { p.Targets = []string{"directory:/x"} }), cred("b", Standby), cred("a", Active, missing(time.Minute), func(x *Credential) {
			x.Failing, x.Attempts, x.RetryAt, x.RetryAfter = c.failing, 9, at.Add(time.Hour), at.Add(c.after)
		}))
		if got := due(a); got != c.want {
			t.Errorf("%s fails: %s is due, want %s", c.failing, got, c.want)
		}
	}
}
