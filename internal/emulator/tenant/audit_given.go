package tenant

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
)

// Real records instead of generated ones.

const (
	longestLine  = 256 << 20 // bytes of one record
	givenRecords = 100       // per blob, unless BlobRecords says otherwise
	givenSpan    = 6 * time.Hour
)

// UseRecords replaces all content by the records in r, one JSON object a line;
// empty lines are skipped. Each is put byte for byte into a blob of the content
// type that fits its Workload or RecordType, and the blobs are spread over the
// last six hours; none is late, none repeated. An error names the line, and
// leaves the log as it was.
func (l *AuditLog) UseRecords(r io.Reader) error {
	var given [numContentTypes][]givenRecord
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		t, rec, err := readRecord(line)
		if err != nil {
			return fmt.Errorf("reading audit records: line %d: %w", n, err)
		}
		given[t] = append(given[t], givenRecord{bytes.Clone(line), rec})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading audit records: line %d: %w", n+1, err)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	l.planned = math.MaxInt64 // nothing more is generated
	for t := range l.feeds {
		l.feeds[t].blobs, l.feeds[t].ordered = nil, nil
		l.addGiven(t, now, given[t])
	}
	return nil
}

// givenRecord is a record as it was given, and what is to be expected of it.
type givenRecord struct {
	line   []byte
	expect Record
}

// addGiven puts records of a content type into blobs; l.mu is held.
func (l *AuditLog) addGiven(t int, now time.Time, given []givenRecord) {
	size := l.opts.BlobRecords
	if size <= 0 {
		size = givenRecords
	}
	blobs := (len(given) + size - 1) / size
	i := 0
	f := &l.feeds[t]
	for chunk := range slices.Chunk(given, size) {
		b := blob{given: true, text: &text{body: []byte{'['}}, shown: l.listings + 1}
		b.created = now.Add(-givenSpan + givenSpan*time.Duration(i)/time.Duration(blobs)).UnixMilli()
		for j, g := range chunk {
			if j > 0 {
				b.text.body = append(b.text.body, ",\n"...)
			}
			b.text.body = append(b.text.body, g.line...)
			g.expect.ContentType = contentTypes[t].name
			b.text.records = append(b.text.records, g.expect)
		}
		b.text.body = append(b.text.body, ']')
		f.blobs = append(f.blobs, b)
		i++
	}
	f.reorder()
}

// readRecord tells of a record what content type it belongs to, and what is to
// be expected of it.
func readRecord(line []byte) (t int, r Record, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return 0, r, fmt.Errorf("not a JSON object: %w", err)
	}
	if members == nil {
		return 0, r, fmt.Errorf("not a JSON object: null")
	}
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil {
			s = string(members[name]) // a number, perhaps
		}
		return s
	}
	r.ID = text("Id")
	r.Broken = r.ID == "" || !usableTime(text("CreationTime"))
	recordType, _ := strconv.Atoi(text("RecordType"))
	return contentTypeOf(recordType, text("Workload")), r, nil
}

// usableTime reports whether CreationTime is in a form that occurs.
func usableTime(s string) bool {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// contentTypeOf returns the content type that brings records of a type and
// workload.
func contentTypeOf(recordType int, workload string) int {
	name := "Audit.General"
	switch recordType {
	case 11, 13, 33, 63, 107:
		name = "DLP.All"
	case 8, 9, 15:
		name = "Audit.AzureActiveDirectory"
	case 1, 2, 3, 19, 50:
		name = "Audit.Exchange"
	case 4, 6, 7, 14, 36, 37, 54, 55, 56:
		name = "Audit.SharePoint"
	default:
		switch workload {
		case "AzureActiveDirectory":
			name = "Audit.AzureActiveDirectory"
		case "Exchange":
			name = "Audit.Exchange"
		case "SharePoint", "OneDrive":
			name = "Audit.SharePoint"
		}
	}
	t, _ := contentTypeIndex(name)
	return t
}
