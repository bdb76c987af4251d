package emulator

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Kinds of faults that only the Management Activity API knows.
const (
	AF429       FaultKind = "af429"        // any operation: 403 with code AF429 and without Retry-After
	Truncated   FaultKind = "truncated"    // content, blob: the text ends early (after Bytes, or in its middle) though the answer is complete
	NotArray    FaultKind = "not-array"    // content, blob: JSON, but an object
	NotJSON     FaultKind = "not-json"     // content, blob: an HTML page with status 200
	Endless     FaultKind = "endless"      // blob: a well-formed array of about Bytes bytes
	Gone        FaultKind = "gone"         // blob: AF20051, as if the content had expired
	RepeatPage  FaultKind = "repeat-page"  // content: NextPageUri leads to the same page, and so on forever
	ForeignLink FaultKind = "foreign-link" // content: NextPageUri and all contentUri lead to another host
)

// faultKind returns the kind of the call's fault, empty if there is none.
func (c *activityCall) faultKind() FaultKind {
	if c.fault == nil {
		return ""
	}
	return c.fault.Kind
}

// suits reports whether an operation can carry out a fault of a kind.
func (k FaultKind) suits(operation string) bool {
	switch k {
	case AF429:
		return true
	case Truncated, NotArray, NotJSON:
		return operation == "content" || operation == "blob"
	case Endless, Gone:
		return operation == "blob"
	case RepeatPage, ForeignLink:
		return operation == "content"
	}
	return false
}

// spoiled says how to spoil an answer that write would give.
var spoiled = map[FaultKind]func(w http.ResponseWriter, f *Fault, write func(http.ResponseWriter) error) error{
	Truncated: truncate,
	NotArray: func(w http.ResponseWriter, _ *Fault, _ func(http.ResponseWriter) error) error {
		writeJSON(w, http.StatusOK, map[string]any{"Message": "No records."})
		return nil
	},
	NotJSON: func(w http.ResponseWriter, _ *Fault, _ func(http.ResponseWriter) error) error {
		w.Header().Set("Content-Type", "text/html")
		_, err := io.WriteString(w, "<!DOCTYPE html><html><head><title>Please sign in</title></head><body>Please sign in.</body></html>\n")
		return err
	},
	Endless: func(w http.ResponseWriter, f *Fault, _ func(http.ResponseWriter) error) error {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		return writeEndless(w, f.Bytes)
	},
}

// truncate gives the first part of an answer as if it were all of it.
func truncate(w http.ResponseWriter, f *Fault, write func(http.ResponseWriter) error) error {
	var size measure
	if err := write(&size); err != nil {
		return err
	}
	keep := f.Bytes
	if keep <= 0 {
		keep = size.bytes / 2
	}
	return write(&head{ResponseWriter: w, left: keep})
}

// measure is an http.ResponseWriter that counts.
type measure struct {
	header http.Header
	bytes  int64
}

func (m *measure) Header() http.Header {
	if m.header == nil {
		m.header = http.Header{}
	}
	return m.header
}

func (m *measure) WriteHeader(int) {}

func (m *measure) Write(p []byte) (int, error) {
	m.bytes += int64(len(p))
	return len(p), nil
}

// head is an http.ResponseWriter that lets the first bytes through and drops
// the others.
type head struct {
	http.ResponseWriter
	left int64
}

func (h *head) Write(p []byte) (int, error) {
	n := min(int64(len(p)), h.left)
	h.left -= n
	if _, err := h.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
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
