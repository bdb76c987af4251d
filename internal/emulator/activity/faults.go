package activity

import (
	"cmp"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Kinds of faults that only the Management Activity API knows.
const (
	AF429       origin.FaultKind = "af429"        // any operation: 403 with code AF429 and without Retry-After
	NotArray    origin.FaultKind = "not-array"    // content, blob: JSON, but an object
	NotJSON     origin.FaultKind = "not-json"     // content, blob: an HTML page with status 200
	Endless     origin.FaultKind = "endless"      // blob: a well-formed array of about Bytes bytes; 0 means a GiB
	Gone        origin.FaultKind = "gone"         // blob: AF20051, as if the content had expired
	RepeatPage  origin.FaultKind = "repeat-page"  // content: NextPageUri leads to the same page, and so on forever
	ForeignLink origin.FaultKind = "foreign-link" // content: NextPageUri and all contentUri lead to another host
	ShortPages  origin.FaultKind = "short-pages"  // content: the listing has pages of Length blobs; 0 means 7
	NewestFirst origin.FaultKind = "newest-first" // content: the listing begins with the newest blob, and has pages of Length unless that is 0
)

// faultKind returns the kind of the call's fault, empty if there is none.
func (c *activityCall) faultKind() origin.FaultKind {
	if c.fault == nil {
		return ""
	}
	return c.fault.Kind
}

// kinds are those that an operation can carry out.
func kinds(operation string) []origin.FaultKind {
	switch operation {
	case "content":
		return []origin.FaultKind{AF429, NotArray, NotJSON, RepeatPage, ForeignLink, ShortPages, NewestFirst}
	case "blob":
		return []origin.FaultKind{AF429, NotArray, NotJSON, Endless, Gone}
	}
	return []origin.FaultKind{AF429}
}

// spoiled says what to answer in place of content.
var spoiled = map[origin.FaultKind]func(w http.ResponseWriter, f *origin.Fault) error{
	NotArray: func(w http.ResponseWriter, _ *origin.Fault) error {
		origin.WriteJSON(w, http.StatusOK, map[string]any{"Message": "No records."})
		return nil
	},
	NotJSON: func(w http.ResponseWriter, _ *origin.Fault) error {
		w.Header().Set("Content-Type", "text/html")
		_, err := io.WriteString(w, "<!DOCTYPE html><html><head><title>Please sign in</title></head><body>Please sign in.</body></html>\n")
		return err
	},
	Endless: func(w http.ResponseWriter, f *origin.Fault) error {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		return writeEndless(w, cmp.Or(f.Bytes, 1<<30))
	},
}

// writeEndless writes an array of records of at least a number of bytes,
// holding none of it.
func writeEndless(w io.Writer, bytes int64) error {
	padding := strings.Repeat("and so on ", 200)
	b := []byte{'['}
	written := int64(0)
	for i := int64(0); ; i++ {
		b = append(b, `{"CreationTime":"2026-01-01T00:00:00","Id":"eeeeeeee-0000-4000-8000-`...)
		id := strconv.FormatInt(i, 16)
		b = append(append(b, "000000000000"[:12-len(id)]...), id...)
		b = append(b, `","Operation":"Endless","OrganizationId":"eeeeeeee-0000-4000-8000-000000000000","RecordType":6,"UserType":0,`...)
		b = append(b, `"UserKey":"endless","Workload":"SharePoint","UserId":"endless@contoso.example","ObjectId":"https://contoso.sharepoint.com/`...)
		b = append(append(b, padding...), `"}`...)
		written += int64(len(b))
		if written >= bytes {
			_, err := w.Write(append(b, ']'))
			return err
		}
		if _, err := w.Write(append(b, ',')); err != nil {
			return err
		}
		b = b[:0]
	}
}
