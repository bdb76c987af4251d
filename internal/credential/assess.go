package credential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Severity says how much a finding matters.
type Severity string

// Severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"  // somebody has to do something, not today
	Critical Severity = "critical" // somebody has to do something now
)

// Finding is something that a person ought to know of an application's certificates,
// until it is no longer so.
type Finding struct {
	Rule     string // a word, the same for all of its kind
	Severity Severity
	// Credential is that of ours which it is about; Key that of somebody else's.
	// Both are empty when it is about the application.
	Credential string
	Key        string
	Message    string
	Remedy     string
	// Notice names the occasion on which to tell somebody; empty for none. The same
	// name is told once.
	Notice string
}

// Assess says what is wrong, or will be. An application that is well has no findings.
func Assess(now time.Time, a Application) []Finding {
	if a.Mode == Off {
		return nil
	}
	var found []Finding
	add := func(f Finding, message string, args ...any) {
		f.Message = fmt.Sprintf(message, args...)
		found = append(found, f)
	}
	o := a.Observed
	switch {
	case o.Gone:
		add(Finding{Rule: "application-gone", Severity: Critical, Notice: "gone/" + a.ObjectID,
			Remedy: "restore it within 30 days (Entra ID > App registrations > Deleted applications), or stop looking after it: reeve cert policy set --mode off"},
			"Entra ID has no application with the object ID %s any more", a.ObjectID)
	case o.Locked:
		add(Finding{Rule: "manager-refused", Severity: Critical, Notice: "locked/" + a.ObjectID + "/" + date(now),
			Remedy: "if that is the application itself, see whether its certificates work (reeve cert rehearse), and what helps if none does (reeve cert rescue); else see to the identity of credentials.manager"},
			"Entra ID refuses to sign reeve in to read and change the application: %s", o.Error)
	case o.Blind:
		add(Finding{Rule: "application-unreadable", Severity: Info,
			Remedy: "nothing has to be done: certificates are renewed all the same. To see what others do to the application, give reeve Application.Read.All"},
			"Graph does not let reeve read the application, so what others add or remove is not seen")
	case o.Error != "" && now.Sub(later(o.At, a.Adopted)) > time.Hour:
		add(Finding{Rule: "application-unread", Severity: Warning, Remedy: "see the error; it is tried again by itself"},
			"the application could not be read at Graph since %s: %s", stamp(later(o.At, a.Adopted)), o.Error)
	}
	if a.skewed(now) {
		add(Finding{Rule: "clock-wrong", Severity: Critical, Notice: "clock/" + date(now),
			Remedy: "set the clock, and let it be kept by NTP; no certificate is made before that, since its dates would be wrong"},
			"this machine's clock is %v off that of Entra ID", Span(o.Skew.Abs()))
	}
	if a.Mode == On {
		found = append(found, a.assessOurs(now)...)
	} else if active, ok := a.Active(); ok { // nobody renews it
		if n := notice(now, active.NotAfter, a.Policy.NoticeDays); n > 0 || active.expired(now) {
			add(Finding{Rule: "certificate-due", Severity: dueSeverity(n), Credential: active.ID, Notice: fmt.Sprintf("due/%s/%d", active.ID, n),
				Remedy: "let reeve renew it: reeve cert policy set " + a.ClientID + " --mode on"},
				"the certificate in use, %s, ends on %s, and reeve only looks on", active.SHA1, date(active.NotAfter))
		}
	}
	found = append(found, a.assessForeign(now)...)
	slices.SortStableFunc(found, func(x, y Finding) int { return rank(x.Severity) - rank(y.Severity) })
	return found
}

// restless is how long the list of keys may change all the time until a person is told.
const restless = 5 * time.Minute

func rank(s Severity) int { return slices.Index([]Severity{Critical, Warning, Info}, s) }

func (a Application) assessOurs(now time.Time) []Finding {
	var found []Finding
	add := func(f Finding, message string, args ...any) {
		f.Message = fmt.Sprintf(message, args...)
		found = append(found, f)
	}
	active, hasActive := a.Active()
	standby, hasStandby := a.Standby()
	switch {
	case !hasActive && a.Out(now):
		add(Finding{Rule: "certificate-none", Severity: Critical, Notice: "none/" + a.ObjectID + "/" + date(now),
			Remedy: "a new one is made by itself if reeve may change the application; else: reeve cert rescue " + a.ClientID},
			"no certificate of the application is in use")
	case hasActive && active.expired(now):
		add(Finding{Rule: "certificate-expired", Severity: Critical, Credential: active.ID, Notice: "expired/" + active.ID,
			Remedy: "a new one is made by itself if reeve may change the application; else: reeve cert rescue " + a.ClientID},
			"the certificate in use, %s, expired at %s", active.SHA1, stamp(active.NotAfter))
	case hasActive && !active.Missing.IsZero() && active.Refusals > 0:
		add(Finding{Rule: "certificate-missing", Severity: Critical, Credential: active.ID, Notice: "missing/" + active.ID,
			Remedy: "the standby becomes the active one by itself, within a minute; if there is none: reeve cert rescue " + a.ClientID},
			"Graph does not show the certificate in use, %s, and Entra ID refuses it (AADSTS%d): somebody has removed it", active.SHA1, active.RefusedCode)
	case hasActive && active.Refusals > 1:
		add(Finding{Rule: "certificate-refused", Severity: Critical, Credential: active.ID, Notice: "refused/" + active.ID,
			Remedy: "the standby becomes the active one by itself; if there is none: reeve cert rescue " + a.ClientID},
			"Entra ID refuses the certificate in use, %s (AADSTS%d)", active.SHA1, active.RefusedCode)
	case hasActive && (!hasStandby || !standby.works() || now.After(active.Emergency())):
		if n := notice(now, active.NotAfter, a.Policy.NoticeDays); n > 0 {
			add(Finding{Rule: "certificate-due", Severity: dueSeverity(n), Credential: active.ID, Notice: fmt.Sprintf("due/%s/%d", active.ID, n),
				Remedy: "see the other findings for what keeps reeve from making a successor; if nothing helps: reeve cert rescue " + a.ClientID},
				"the certificate in use, %s, ends on %s, and no proved successor has taken over or can", active.SHA1, date(active.NotAfter))
		}
	}
	if hasActive && !active.Missing.IsZero() && active.Refusals == 0 && !active.expired(now) {
		add(Finding{Rule: "certificate-missing", Severity: Warning, Credential: active.ID,
			Remedy: "nothing has to be done yet: a replica of Graph may be late; if tokens are refused, the standby becomes the active one by itself"},
			"Graph does not show the certificate in use, %s; it is being asked for tokens", active.SHA1)
	}
	if until, why := a.brake(now); until.After(now) {
		add(Finding{Rule: "certificate-given-up", Severity: Warning, Notice: "brake/" + a.ObjectID + "/" + date(now),
			Remedy: "see the journal for why (reeve cert history), mend that, and then: reeve cert renew " + a.ClientID},
			"%s; the next is made at %s", why, stamp(until))
	}
	for _, c := range a.Credentials {
		switch {
		case c.State == Keyed && a.Policy.Issuer == IssuerRequest:
			add(Finding{Rule: "certificate-awaited", Severity: Warning, Credential: c.ID, Notice: "awaited/" + c.ID,
				Remedy: fmt.Sprintf("give the request to your authority (reeve cert export %s --request), and its answer to reeve: reeve cert import %s --certificate FILE", c.ID, a.ClientID)},
				"a certificate has to be made by your authority")
		case c.Stuck:
			add(Finding{Rule: "certificate-stuck", Severity: Warning, Credential: c.ID, Notice: "stuck/" + c.ID + "/" + string(c.State), Remedy: c.Remedy},
				"%s, %d times so far: %s", failing(c), c.Attempts, c.Error)
		case c.Changes > 0 && now.Sub(c.Restless) > restless:
			add(Finding{Rule: "list-restless", Severity: Warning, Credential: c.ID, Notice: "restless/" + c.ID + "/" + stamp(c.Restless),
				Remedy: "find out which program changes them (Entra ID > Audit logs, activity \"Update application – Certificates and secrets management\") and let it pause for two minutes; or adopt a certificate that the application has, with its private key: reeve cert adopt"},
				"the key credentials of the application change before they have been the same for 36 seconds, %d times since %s, so that the list cannot be replaced without taking somebody's key away, and the certificate, which is %s, waits; the last change: %s", c.Changes, stamp(c.Restless), c.State, c.Changed)
		case c.State == Lost && now.Sub(c.Since) < 7*day:
			add(Finding{Rule: "certificate-lost", Severity: Warning, Credential: c.ID,
				Remedy: "find out who removed it (Entra ID > Audit logs, activity \"Update application – Certificates and secrets management\"); reeve has gone on with another"},
				"somebody else removed certificate %s at Entra ID", c.SHA1)
		}
	}
	for _, c := range a.behind(now) {
		if len(a.In(Draining)) > 0 && now.Sub(active.Promoted) > time.Hour {
			add(Finding{Rule: "consumer-behind", Severity: Warning, Remedy: fmt.Sprintf("see why it does not take the new certificate; the old one is kept for it until a day before its end. One that never will: reeve cert consumer remove %s %s", a.ClientID, c.Name)},
				"the program %s still has an older certificate", c.Name)
		}
	}
	for _, d := range a.Deploys {
		if d.Attempts > 2 {
			add(Finding{Rule: "deploy-failing", Severity: Warning, Credential: d.Credential, Remedy: "mend the command or webhook; it is tried again by itself"},
				"%s has failed %d times: %s", d.Hook, d.Attempts, d.Error)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(a.Observed.Targets)) {
		add(Finding{Rule: "target-drifted", Severity: Warning, Remedy: "it is published there again by itself; find out who else writes there"}, "%s: %s", target, a.Observed.Targets[target])
	}
	for _, target := range slices.Sorted(maps.Keys(a.Observed.Contests)) {
		if x := a.Observed.Contests[target]; x.Over() && x.What != "" {
			add(Finding{Rule: "target-contested", Severity: Critical, Notice: "contested/" + a.ObjectID + "/" + target,
				Remedy: "see whether another reeve, with another database, has the same place and application, and end one of the two; or take the place out of the policy of one: reeve cert policy set " + a.ClientID + " --target"},
				"%s: %s. It was replaced there %d times: the certificate in use is published there once a day from now on, and each new one at once", target, x.What, x.Times)
		}
	}
	found = append(found, a.assessPlaces()...)
	for _, k := range a.Observed.Keys {
		// A replica of Graph may show one for a while after it was taken away.
		if c, ok := a.Find(k.Ours); ok && k.Ours != "" && slices.Contains([]State{Lost, Retired, Destroyed}, c.State) && a.Observed.At.Sub(c.Since) > readWithin {
			add(Finding{Rule: "certificate-back", Severity: Critical, Credential: c.ID, Notice: "back/" + c.ID,
				Remedy: "find out who put it there, and remove it (Entra ID > App registrations > Certificates & secrets): reeve does not use it, and whoever has its key can sign in"},
				"certificate %s is at Entra ID again, which is over for reeve (%s)", c.SHA1, c.State)
		}
	}
	return found
}

// failing says what fails of a credential that is stuck.
func failing(c Credential) string {
	if c.Failing == "" {
		return fmt.Sprintf("a step for the certificate, which is %s, fails", c.State)
	}
	return fmt.Sprintf("the step %q for the certificate, which is %s, fails", c.Failing, c.State)
}

// assessPlaces names the places that have a private key which nobody would look for there:
// of a policy that was changed since, or of a credential that was destroyed.
func (a Application) assessPlaces() []Finding {
	var found []Finding
	for _, c := range a.Credentials {
		places, text := a.Former(c), "%s is no live place of the policy any more, and has the private key of certificate %s (%s), which reeve takes away from there when that is destroyed"
		notice := ""
		if c.State == Destroyed {
			notice, places, text = "left/"+c.ID, a.Places(c), "%s still has the private key of certificate %s, which is %s"
		}
		for _, t := range places {
			remedy := "see that no program reads it there, and delete that certificate in the vault"
			if path, ok := strings.CutPrefix(t, "directory:"); ok {
				path, _, _ = strings.Cut(path, ",")
				remedy = "see that no program reads it there, and delete the folder " + path + ": the key is in " + path + "/current/key.pem, certificate.pem and, if there is one, certificate.pfx"
			}
			found = append(found, Finding{Rule: "key-left", Severity: Warning, Credential: c.ID, Notice: notice, Remedy: remedy, Message: fmt.Sprintf(text, t, c.SHA1, c.State)})
		}
	}
	return found
}

// assessForeign looks at the certificates and secrets that are not ours, which nobody
// else may be watching.
func (a Application) assessForeign(now time.Time) []Finding {
	var found []Finding
	for _, k := range a.Observed.Foreign() {
		if len(k.SHA256) > 0 && slices.ContainsFunc(a.Credentials, func(c Credential) bool { return strings.EqualFold(c.SHA256, k.SHA256) }) {
			continue
		}
		what, where := "certificate", "Certificates"
		if k.Secret {
			what, where = "client secret", "Client secrets"
		}
		name := k.Name
		if name == "" {
			name = k.KeyID
		}
		f := Finding{Rule: "foreign-due", Key: k.KeyID,
			Remedy: fmt.Sprintf("it is not reeve's, which never touches it: whoever uses it must renew it, or move to the certificate that reeve renews; if nobody does, remove it (Certificates & secrets > %s)", where)}
		switch n := notice(now, k.End, a.Policy.NoticeDays); {
		case !now.Before(k.End):
			f.Rule, f.Severity = "foreign-expired", Info
			f.Message = fmt.Sprintf("the %s %s expired on %s", what, name, date(k.End))
		case n > 0:
			f.Severity = dueSeverity(n)
			f.Notice = fmt.Sprintf("foreign/%s/%d", k.KeyID, n)
			f.Message = fmt.Sprintf("the %s %s ends on %s", what, name, date(k.End))
		default:
			continue
		}
		found = append(found, f)
	}
	return found
}

// notice is the number of notice days that has been reached: of 30, 14, 7, 1 it is 14
// from 14 days before the end on. It is 0 when none has.
func notice(now, end time.Time, days []int) int {
	reached := 0
	for _, d := range days {
		if !now.Before(end.Add(-time.Duration(d)*day)) && (reached == 0 || d < reached) {
			reached = d
		}
	}
	return reached
}

func dueSeverity(days int) Severity {
	if days <= 7 {
		return Critical
	}
	return Warning
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
