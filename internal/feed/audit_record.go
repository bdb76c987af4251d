package feed

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

// auditDecoder makes rows of audit records. One goroutine uses it.
type auditDecoder struct {
	tenant int
	scope  Scope
	outer  *scanner
	inner  *scanner // for what stands within members
	record auditRecord
	// What records share is made once.
	texts, addresses map[string]any
}

func newAuditDecoder(tenant int, scope Scope) *auditDecoder {
	return &auditDecoder{tenant: tenant, scope: scope, outer: newScanner(), inner: newScanner(), texts: map[string]any{}, addresses: map[string]any{}}
}

// shared gives a text as a value for a column. Sites, clients and people come
// again and again: each is made once while the decoder remembers it.
func (d *auditDecoder) shared(text []byte) any {
	if len(text) > maxShared {
		return string(text)
	}
	if v, ok := d.texts[string(text)]; ok {
		return v
	}
	if len(d.texts) >= maxTexts {
		clear(d.texts)
	}
	s := string(text)
	var v any = s
	d.texts[s] = v
	return v
}

// These bound what a decoder remembers to about a MiB.
const (
	maxShared = 300
	maxTexts  = 5000
)

// auditRecord is one record while it is decoded.
type auditRecord struct {
	d       *auditDecoder
	batch   *store.Batch
	values  [fields][]byte // as they stand in the text
	day     any            // the int
	id      any            // the 16 bytes
	defects []string
}

// Reasons for quarantine. docs/operate/quarantine.md explains each.
const (
	reasonNotJSON   = "not JSON"
	reasonNotObject = "not an object"
	reasonNoID      = "no Id"
	reasonNoTime    = "no time"
)

// AuditReasons lists the reasons for quarantine that the audit feed gives itself.
func AuditReasons() []string {
	return []string{reasonNoID, reasonNoTime, reasonNotJSON, reasonNotObject}
}

// Decode implements ingest.Decoder. Only what a record cannot be kept without
// sends it to quarantine: its Id, by which it is told from others, and its
// CreationTime, by which it is filed. Any other member that is not as it should
// be is left out of its column, and the column defects says so; the text of the
// record is kept as it came.
func (d *auditDecoder) Decode(text []byte, b *store.Batch) *ingest.Bad {
	if len(text) == 0 || text[0] != '{' {
		return &ingest.Bad{Reason: reasonNotObject, Detail: "the record is " + kindOf(text) + " instead of an object"}
	}
	r := &d.record
	*r = auditRecord{d: d, batch: b, defects: r.defects[:0]}
	err := d.outer.object(text, func(name, value []byte) {
		if f, ok := fieldByName[string(name)]; ok && r.values[f] == nil {
			r.values[f] = value
		}
	})
	if err != nil {
		id, _ := scalar(r.values[fID])
		return &ingest.Bad{RecordID: string(id), Reason: reasonNotJSON, Detail: fmt.Sprintf("the record is not valid JSON: %v", err)}
	}
	recordID, ok := scalar(r.values[fID])
	if !ok || len(recordID) == 0 || r.values[fID][0] != '"' {
		return &ingest.Bad{Reason: reasonNoID, Detail: "its Id is " + kindOf(r.values[fID]) + ", so that it cannot be told from others"}
	}
	when, ok := scalar(r.values[fCreationTime])
	created, valid := creationTime(when)
	if !ok || !valid {
		return &ingest.Bad{RecordID: string(recordID), Reason: reasonNoTime, Detail: fmt.Sprintf("its CreationTime %.60s is no time", r.shown(fCreationTime))}
	}
	id, guid := store.ParseID(recordID)
	if !guid {
		id = store.HashID(string(recordID))
	}
	r.id, r.day = id[:], store.Day(created)
	object, site := r.bytes(fObjectID), r.bytes(fSiteURL)
	if !d.scope.holds(object, site) {
		b.OutOfScope++
		b.Add(ignoredEvents, d.tenant, r.day, r.id)
		return nil
	}
	if !utf8.Valid(text) {
		r.defect("text that is not UTF-8 was replaced")
	}
	kind := r.workload()
	if kind != nil {
		kind.add(r)
	}
	var sourceID any
	if !guid {
		sourceID = string(recordID)
	}
	at := b.Keep(text)
	b.Add(auditEvents, d.tenant, r.day, r.id, created.Format(timeLayout), r.number(fRecordType),
		r.name(operations, fOperation), r.name(workloads, fWorkload), r.name(users, fUserID), r.number(fUserType), r.text(fUserKey),
		r.text(fResultStatus), r.address(fClientIP), r.text(fObjectID), sourceID, r.defectsFound(), b.Hash(text), b.ContentID, at, len(text))
	return nil
}

// timeLayout is how the store holds times.
const timeLayout = "2006-01-02 15:04:05.000"

// workload finds the kind of a record, by its Workload or else its RecordType.
func (r *auditRecord) workload() *workload {
	name, _ := scalar(r.values[fWorkload])
	number, _ := integer(r.values[fRecordType])
	for i := range auditWorkloads {
		w := &auditWorkloads[i]
		for _, n := range w.names {
			if n == string(name) {
				return w
			}
		}
		if len(name) == 0 && slices.Contains(w.types, number) {
			return w
		}
	}
	return nil
}

func (r *auditRecord) defect(format string, args ...any) {
	if len(r.defects) < 10 {
		r.defects = append(r.defects, fmt.Sprintf(format, args...))
	}
}

func (r *auditRecord) defectsFound() any {
	if len(r.defects) == 0 {
		return nil
	}
	return strings.Join(r.defects, "; ")
}

// shown is a member as it stands in the text, for messages.
func (r *auditRecord) shown(f field) string {
	if len(r.values[f]) == 0 {
		return "(missing)"
	}
	return string(clean(r.values[f]))
}

// bytes gives a member's text, nil if it has none.
func (r *auditRecord) bytes(f field) []byte {
	text, ok := scalar(r.values[f])
	if !ok {
		r.defect("%s is %s", fieldNames[f], kindOf(r.values[f]))
	}
	return text
}

// text gives a member's text for a column.
func (r *auditRecord) text(f field) any {
	if absent(r.values[f]) {
		return nil
	}
	text := r.bytes(f)
	if text == nil {
		return nil
	}
	return r.d.shared(text)
}

// first gives the first of several members that has a text.
func (r *auditRecord) first(fs ...field) any {
	for _, f := range fs {
		if text, ok := scalar(r.values[f]); ok && len(text) > 0 {
			return r.d.shared(text)
		}
	}
	return nil
}

func (r *auditRecord) number(f field) any {
	if absent(r.values[f]) {
		return nil
	}
	n, ok := integer(r.values[f])
	if !ok {
		if text, ok := scalar(r.values[f]); ok && len(text) == 0 {
			return nil
		}
		r.defect("%s is no whole number", fieldNames[f])
		return nil
	}
	if n < -1<<31 || n >= 1<<31 {
		r.defect("%s is out of range", fieldNames[f])
		return nil
	}
	return n
}

// truth reads true or false, also as the strings that Exchange writes.
func (r *auditRecord) truth(f field) any {
	text, _ := scalar(r.values[f])
	switch {
	case len(text) == 0:
		return nil
	case strings.EqualFold(string(text), "true"):
		return true
	case strings.EqualFold(string(text), "false"):
		return false
	}
	r.defect("%s is neither true nor false", fieldNames[f])
	return nil
}

// json gives a member as it stands in the text.
func (r *auditRecord) json(f field) any {
	if absent(r.values[f]) {
		return nil
	}
	return string(clean(r.values[f]))
}

func (r *auditRecord) name(t *store.NameTable, f field) any {
	return r.batch.Name(t, r.bytes(f))
}

// address gives an IP address as it is usually written. Microsoft sends it with
// a port (10.1.2.3:51598, [2001:db8::1]:443), or an IPv4 address as
// ::ffff:10.1.2.3 or ffff:10.1.2.3. What is no address is kept as it is.
func (r *auditRecord) address(f field) any {
	text := r.bytes(f)
	if len(text) == 0 {
		return nil
	}
	return r.d.address(text)
}

// address remembers addresses as shared does, by how they were sent.
func (d *auditDecoder) address(text []byte) any {
	if v, ok := d.addresses[string(text)]; ok {
		return v
	}
	if len(d.addresses) >= maxTexts {
		clear(d.addresses)
	}
	s := string(text)
	var v any = usual(s)
	d.addresses[s] = v
	return v
}

func usual(s string) string {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().String()
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().String()
	}
	if rest, ok := strings.CutPrefix(s, "ffff:"); ok {
		if a, err := netip.ParseAddr(rest); err == nil && a.Is4() {
			return a.String()
		}
	}
	return s
}

// members reads some members of the object that stands in text; values are as
// they stand. It is nil-safe: what is no object has no members.
func (r *auditRecord) members(text []byte, names ...string) [][]byte {
	found := make([][]byte, len(names))
	if len(text) == 0 || text[0] != '{' {
		return found
	}
	// The text was checked as a part of the record.
	_ = r.d.inner.object(text, func(name, value []byte) {
		for i, n := range names {
			if found[i] == nil && n == string(name) {
				found[i] = value
			}
		}
	})
	return found
}

// elements gives the elements of the array that stands in text.
func (r *auditRecord) elements(text []byte) [][]byte {
	if len(text) == 0 || text[0] != '[' {
		return nil
	}
	var all [][]byte
	_ = r.d.inner.array(text, func(value []byte) { all = append(all, value) })
	return all
}

// value is a text for a column; nil for none.
func value(v []byte) any {
	text, ok := scalar(v)
	if !ok || len(text) == 0 {
		return nil
	}
	return string(text)
}
