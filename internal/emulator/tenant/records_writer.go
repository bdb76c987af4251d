package tenant

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// recordWriter appends records as JSON text. Each member ends with a comma;
// whoever closes an object or array replaces the last one.
type recordWriter struct {
	log      *AuditLog
	b        []byte
	pcg      rand.PCG
	rng      *rand.Rand
	depth    int
	members  []int // where the record's own members begin in b
	required int   // so many of them must stay
	spare    []byte
}

func newRecordWriter() *recordWriter {
	w := &recordWriter{b: make([]byte, 0, flushSize+8<<10)}
	w.rng = rand.New(&w.pcg)
	return w
}

// record appends the record of an event.
func (w *recordWriter) record(e event) {
	w.pcg.Seed(w.log.opts.Seed, e.key)
	w.depth, w.members, w.required = 0, w.members[:0], 0
	start := len(w.b)
	w.b = append(w.b, '{')
	e.shape.render(w, &e)
	switch e.oddity {
	case oddMembers:
		w.oddMembers()
	case oddScript:
		w.text("Notes", "Größe → サイズ, размер, μέγεθος, \u202eגודל\u202c, 尺寸 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩‍💻")
	case oddControls:
		w.text("Notes", `tab\tand\r\nline\u0000null\u0007bell\u001fus\u2028ls\ud83d\ude00\/`)
	}
	if target := w.log.opts.RecordBytes; target > 0 {
		w.fit(start, target)
	}
	if e.oddity == oddLarge {
		w.pad("ExtendedInfo", 100<<10)
	}
	w.end('}')
	w.members = append(w.members, len(w.b))
}

// oddMembers appends members that no schema knows, of every JSON type.
func (w *recordWriter) oddMembers() {
	w.integer("FutureCount", 1<<53+1)
	w.raw("FutureRatio", "-1.25e-3")
	w.null("FutureNothing")
	w.text("futureCamel", "")
	w.open("FutureNested", '{')
	w.open("Levels", '[')
	w.b = append(w.b, `[[{"Deep":[true,false,null]}]],`...)
	w.close(']')
	w.close('}')
}

// head appends the members that every record has, in the order in which the
// service writes them.
func (w *recordWriter) head(e *event, operation, workload, result string, ip ipForm) {
	w.key("CreationTime")
	w.creationTime(e)
	w.key("Id")
	w.b = append(w.b, '"')
	w.b = appendGUID(w.b, e.key)
	w.b = append(w.b, `",`...)
	w.text("Operation", operation)
	w.text("OrganizationId", w.log.orgID)
	if e.oddity == oddTextType {
		w.text("RecordType", strconv.Itoa(e.shape.recordType))
	} else {
		w.integer("RecordType", e.shape.recordType)
	}
	if result != "" {
		w.text("ResultStatus", result)
	}
	userType := 0 // a regular user
	switch {
	case e.shape.recordType == 11, e.shape.recordType == 13, e.shape.recordType == 63:
		w.text("UserKey", "DlpAgent")
		userType = 4 // the system
	case workload == "SharePoint", workload == "OneDrive":
		w.text("UserKey", "i:0h.f|membership|", e.actor.puid, "@live.com")
	case workload == "Exchange":
		w.text("UserKey", e.actor.puid)
	default:
		w.text("UserKey", e.actor.id)
	}
	switch {
	case e.shape.recordType == 1:
		userType = 2 // an administrator
	case e.actor == &alertActor:
		userType = 4
	}
	w.integer("UserType", userType)
	w.integer("Version", 1)
	w.text("Workload", workload)
	w.clientIP(e, ip)
	w.text("UserId", e.actor.upn)
	w.required = len(w.members)
}

func (w *recordWriter) creationTime(e *event) {
	if e.oddity == oddBroken {
		broken := [...]string{`"",`, `null,`, `"2026-13-45T99:99:99",`, `"yesterday",`}
		w.b = append(w.b, broken[e.key%uint64(len(broken))]...)
		return
	}
	layout := `"2006-01-02T15:04:05",`
	if e.oddity == oddBlank {
		layout = `"2006-01-02 15:04:05",`
	}
	w.b = time.Unix(e.at, 0).UTC().AppendFormat(w.b, layout)
}

// ipForm is one of the forms in which records give the client's address.
type ipForm uint8

const (
	ipPlain  ipForm = iota
	ipPort          // with a port, IPv6 in brackets
	ipMapped        // sometimes an IPv4 address behind "ffff:"
	ipNone          // null or absent
)

func (w *recordWriter) clientIP(e *event, form ipForm) {
	v6 := w.chance(12)
	switch {
	case form == ipNone && w.chance(50):
		w.null("ClientIP")
	case form == ipNone:
	case form == ipPort && v6:
		w.key("ClientIP")
		w.b = append(append(append(w.b, `"[`...), e.actor.ipv6...), "]:"...)
		w.b = append(strconv.AppendInt(w.b, int64(1024+w.rng.IntN(64000)), 10), `",`...)
	case form == ipPort:
		w.key("ClientIP")
		w.b = append(append(append(w.b, '"'), e.actor.ip...), ':')
		w.b = append(strconv.AppendInt(w.b, int64(1024+w.rng.IntN(64000)), 10), `",`...)
	case form == ipMapped && w.chance(30):
		w.text("ClientIP", "ffff:", e.actor.ip)
	case v6:
		w.text("ClientIP", e.actor.ipv6)
	default:
		w.text("ClientIP", e.actor.ip)
	}
}

// key begins a member.
func (w *recordWriter) key(key string) {
	if w.depth == 0 {
		w.members = append(w.members, len(w.b))
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, key...)
	w.b = append(w.b, `":`...)
}

// text appends a member whose value is the parts joined, which are written as
// they are: they must be fit to stand in a JSON string.
func (w *recordWriter) text(key string, parts ...string) {
	w.key(key)
	w.b = append(w.b, '"')
	for _, p := range parts {
		w.b = append(w.b, p...)
	}
	w.b = append(w.b, `",`...)
}

func (w *recordWriter) raw(key, json string) {
	w.key(key)
	w.b = append(append(w.b, json...), ',')
}

func (w *recordWriter) null(key string) { w.raw(key, "null") }

func (w *recordWriter) integer(key string, n int) {
	w.key(key)
	w.b = append(strconv.AppendInt(w.b, int64(n), 10), ',')
}

func (w *recordWriter) boolean(key string, v bool) {
	w.key(key)
	w.b = append(strconv.AppendBool(w.b, v), ',')
}

// when appends a member with a time near the event's, in Unix seconds.
func (w *recordWriter) when(key string, unix int64) {
	w.key(key)
	w.b = time.Unix(unix, 0).UTC().AppendFormat(w.b, `"2006-01-02T15:04:05",`)
}

// guid appends a member with a random GUID.
func (w *recordWriter) guid(key string) { w.knownGUID(key, w.rng.Uint64()) }

// knownGUID appends a member with the GUID that belongs to a number.
func (w *recordWriter) knownGUID(key string, n uint64) {
	w.key(key)
	w.b = append(w.b, '"')
	w.b = appendGUID(w.b, n)
	w.b = append(w.b, `",`...)
}

// open begins a member that is an object or an array, and item an object in an
// array; close ends either.
func (w *recordWriter) open(key string, bracket byte) {
	w.key(key)
	w.item(bracket)
}

func (w *recordWriter) item(bracket byte) {
	w.b = append(w.b, bracket)
	w.depth++
}

func (w *recordWriter) end(bracket byte) {
	if last := len(w.b) - 1; w.b[last] == ',' {
		w.b = w.b[:last]
	}
	w.b = append(w.b, bracket)
	w.depth--
}

func (w *recordWriter) close(bracket byte) {
	w.end(bracket)
	w.b = append(w.b, ',')
}

// property appends the object {first: name, second: value} to an array.
func (w *recordWriter) property(first, name, second string, value ...string) {
	w.item('{')
	w.text(first, name)
	w.text(second, value...)
	w.close('}')
}

// chance is true so many times in a hundred.
func (w *recordWriter) chance(percent int) bool { return w.rng.IntN(100) < percent }

// choose returns one of the values.
func (w *recordWriter) choose(values ...string) string { return values[w.rng.IntN(len(values))] }

// fit brings the record that began at start near a size: optional members are
// left out from the end, or filler is added.
func (w *recordWriter) fit(start, target int) {
	for len(w.b)-start > target && len(w.members) > w.required {
		last := len(w.members) - 1
		w.b = w.b[:w.members[last]]
		w.members = w.members[:last]
	}
	const frame = len(`"AdditionalInfo":"",`)
	if missing := target - (len(w.b) - start) - frame; missing > 0 {
		w.pad("AdditionalInfo", missing)
	}
}

const filler = "Quarterly figures were reviewed by the regional team and carried over into the shared workbook; " +
	"open points are tracked in the planning board and will be settled before the next release. "

// pad appends a member with so many bytes of text.
func (w *recordWriter) pad(key string, n int) {
	w.key(key)
	w.b = append(w.b, '"')
	for ; n > len(filler); n -= len(filler) {
		w.b = append(w.b, filler...)
	}
	w.b = append(append(w.b, filler[:n]...), `",`...)
}

// shuffle puts the members of the record just written into another order.
func (w *recordWriter) shuffle() {
	start := w.members[0]
	w.spare = append(w.spare[:0], w.b[start:]...)
	n := len(w.members) - 1
	out := w.b[:start]
	step := n/2 | 1
	for gcd(step, n) != 1 {
		step++
	}
	for i, at := 0, n-1; i < n; i, at = i+1, (at+step)%n {
		from, to := w.members[at]-start, w.members[at+1]-start-1 // less the comma or brace
		out = append(append(out, w.spare[from:to]...), ',')
	}
	out[len(out)-1] = '}'
	w.b = out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// appendGUID appends the GUID that belongs to a number.
func appendGUID(b []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	high, low := scramble(n^0x5851f42d4c957f2d), scramble(n+0x14057b7ef767814f)
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	start := len(b)
	b = append(b, "00000000-0000-0000-0000-000000000000"...)
	for i, at := range guidDigits[:16] {
		b[start+at] = digits[high>>(60-4*i)&15]
	}
	for i, at := range guidDigits[16:] {
		b[start+at] = digits[low>>(60-4*i)&15]
	}
	return b
}

// guidDigits are the places of a GUID's digits.
var guidDigits = func() (places [32]int) {
	for i := range places {
		places[i] = i + min(4, max(0, i-4)/4)
	}
	return places
}()
