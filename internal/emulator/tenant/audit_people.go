package tenant

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The fictional people and service accounts whose doings the log records.

// actor is somebody who does things, as records spell it.
type actor struct {
	upn      string
	name     string
	id       string // object id
	puid     string
	ip       string
	ipv6     string
	agent    string // how its browser presents itself
	personal string // the name of its OneDrive site
	service  bool
}

// office is where people work: so many of them, on a clock so many minutes
// ahead of UTC.
type office struct {
	share   int // of all people, in percent
	ahead   int
	country string
	net     string
}

var offices = [...]office{
	{share: 34, ahead: -8 * 60, country: "US", net: "203.0.113."},
	{share: 22, ahead: 0, country: "GB", net: "198.51.100."},
	{share: 24, ahead: 60, country: "DE", net: "192.0.2."},
	{share: 14, ahead: 5*60 + 30, country: "IN", net: "198.18.7."},
	{share: 6, ahead: 10 * 60, country: "AU", net: "198.19.44."},
}

// actors are all of them, and how likely each is to act when.
type actors struct {
	people   []actor // by office
	bounds   [len(offices) + 1]int
	services []actor
	week     *[quartersPerWeek]moment
}

// moment says how much happens in a quarter of an hour of the week, in
// person-days: in all, and summed up to each office. The rest is the service
// accounts'.
type moment struct {
	total float64
	upTo  [len(offices)]float64
}

var (
	firstNames = [...]string{
		"Adele", "Alex", "Amara", "Bianca", "Cameron", "Chen", "Diego", "Elif", "Farid", "Grady", "Hana", "Isaiah",
		"Johanna", "Kavya", "Lidia", "Lynne", "Megan", "Miriam", "Naoki", "Nestor", "Olga", "Patti", "Pradeep", "Quinn",
		"Rosa", "Søren", "Tariq", "Ursula", "Viktor", "Wanda", "Yara", "Zoë",
	}
	lastNames = [...]string{
		"Abara", "Bergqvist", "Castellano", "Devarakonda", "Eastwick", "Falkner", "Greywell", "Holloway", "Ibsenholt",
		"Jørgensen", "Kestrel", "Lindqvister", "Marchetti", "Nakamori", "Oakhurst", "Pemberly", "Quillfeather", "Rosenwald",
		"Silvermere", "Thackery", "Underhill", "Vantongeren", "Wexcombe", "Xanthos", "Yarborough", "Zielinsky", "Brightwater",
	}
	serviceNames = [...]string{"svc-backup", "svc-migration", "svc-provisioning", "svc-erp-sync", "svc-archive"}
	agents       = [...]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
		"Microsoft Office Word/16.0.19328 (Windows/10.0; Desktop x64; en-US; Desktop app; contoso/Surface Laptop)",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
		"Microsoft SkyDriveSync 25.206.1021.0003 ship; Windows NT 10.0 (26200)",
	}
)

// People returns the user names of the people whose doings the log records. The
// service accounts are not among them.
func (l *AuditLog) People() []string {
	names := make([]string, len(l.actors.people))
	for i := range names {
		names[i] = l.actors.people[i].upn
	}
	return names
}

// SharePointHost returns the host of the sites in the log, such as
// contoso.sharepoint.com.
func (l *AuditLog) SharePointHost() string { return l.opts.SharePointHost }

// Begin returns the time before which nothing is in the log.
func (l *AuditLog) Begin() time.Time { return time.Unix(l.begin, 0).UTC() }

// newActors invents the people of a tenant.
func newActors(o AuditOptions) actors {
	var a actors
	domain := jsonText(o.Domain)
	users := max(o.Users, 0)
	a.people = make([]actor, users)
	percent := 0
	for i, office := range offices {
		percent += office.share
		a.bounds[i+1] = users * percent / 100
		for n := a.bounds[i]; n < a.bounds[i+1]; n++ {
			a.people[n] = newPerson(n, mix(o.Seed, 1<<40|uint64(n)), domain, office)
		}
	}
	for i, name := range serviceNames {
		h := mix(o.Seed, 2<<40|uint64(i))
		a.services = append(a.services, actor{
			upn: name + "@" + domain, name: name, id: string(appendGUID(nil, h)), puid: fmt.Sprintf("10032000%08X", uint32(h)),
			ip: fmt.Sprintf("198.18.0.%d", 10+i), ipv6: fmt.Sprintf("2001:db8:ffff::%x", 10+i),
			agent: "NONISV|Contoso|Automation/3.2", personal: personalSite(name, domain), service: true,
		})
	}
	a.week = new([quartersPerWeek]moment)
	for q := range a.week {
		m := &a.week[q]
		start := int64(q)*quarter - 4*daySeconds // week quarter 0 is a Sunday
		for i, office := range offices {
			m.total += float64(a.bounds[i+1]-a.bounds[i]) * officeWeight(start+7*daySeconds, office.ahead)
			m.upTo[i] = m.total
		}
		m.total += float64(users) * services * serviceWeight(start+7*daySeconds)
	}
	return a
}

func newPerson(n int, h uint64, domain string, office office) actor {
	first := firstNames[n%len(firstNames)]
	last := lastNames[(n/len(firstNames)+n)%len(lastNames)]
	login := plainLetters(first + "." + last)
	if round := n / (len(firstNames) * len(lastNames)); round > 0 {
		login = fmt.Sprintf("%s%d", login, round+1)
		last = fmt.Sprintf("%s %d", last, round+1)
	}
	return actor{
		upn:      login + "@" + domain,
		name:     first + " " + last,
		id:       string(appendGUID(nil, h)),
		puid:     fmt.Sprintf("10032000%08X", uint32(h)),
		ip:       fmt.Sprintf("%s%d", office.net, 1+h%254),
		ipv6:     fmt.Sprintf("2001:db8:%x:%x::%x", n%0xffff, h>>8&0xffff, h>>24&0xffff),
		agent:    agents[h>>40%uint64(len(agents))],
		personal: personalSite(login, domain),
	}
}

// personalSite returns how SharePoint names a person's OneDrive site.
func personalSite(login, domain string) string {
	return strings.NewReplacer(".", "_", "@", "_", "-", "_").Replace(login + "_" + domain)
}

func plainLetters(s string) string {
	return strings.NewReplacer("ø", "o", "ë", "e").Replace(strings.ToLower(s))
}

// at returns who acts at a time, chosen by a scrambled number.
func (a *actors) at(unix int64, h uint64) *actor {
	m := &a.week[weekQuarter(unix)]
	u := unit(h) * m.total
	for i := range m.upTo {
		if n := a.bounds[i+1] - a.bounds[i]; u < m.upTo[i] && n > 0 {
			return &a.people[a.bounds[i]+int(scramble(h)%uint64(n))]
		}
	}
	return &a.services[scramble(h)%uint64(len(a.services))]
}

// hosts are the SharePoint hosts in records.
type hosts struct{ sharePoint, oneDrive, partner string }

func newHosts(sharePoint string) hosts {
	h := hosts{sharePoint: jsonText(sharePoint), partner: "fabrikam.sharepoint.com"}
	name, rest, _ := strings.Cut(h.sharePoint, ".")
	h.oneDrive = name + "-my." + rest
	if h.sharePoint == h.partner {
		h.partner = "northwindtraders.sharepoint.com"
	}
	return h
}

// jsonText returns s as it is spelled between the quotes of a JSON string.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		return ""
	}
	return string(b[1 : len(b)-1])
}
