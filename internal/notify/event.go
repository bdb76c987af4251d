// Package notify tells people and programs outside what happened: it takes events
// out of the store's outbox and sends each to every target.
//
// An event is posted in the transaction of what it tells about, so that nothing is
// told that did not happen, and nothing that happened goes untold. It is sent at
// least once: a process that dies between sending and recording sends it again,
// under the same ID, by which the receiver can tell.
package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

// An Event is something that happened and that somebody ought to know.
//
// Nothing in it may be secret, and a private key least of all: a mail is kept for
// years, in mailboxes, archives and backups that nobody here controls, and cannot be
// called back. So what is attached can be certificates alone, which are public, and
// an event in which there is a private key, in whatever form, is refused when it is
// posted.
type Event struct {
	// ID names what happened. Whoever posts chooses it so that the same thing has
	// the same ID every time: then it is told once, though posted twice. It is of
	// printable ASCII without spaces.
	ID       string
	At       time.Time
	Kind     string // a word: "certificate-renewed"
	Severity Severity

	Subject string // one line
	Text    string
	Remedy  string // what to do about it; empty if nothing

	Fields      []Field // facts, in the order in which they are shown
	Attachments []Attachment

	// Targets are the names of those who are told; everybody when empty. The log
	// always is.
	Targets []string `json:",omitempty"`
}

// Severity says how much an event matters.
type Severity string

const (
	Info     Severity = "info"     // for the record
	Warning  Severity = "warning"  // somebody has to do something, not today
	Critical Severity = "critical" // somebody has to do something now
)

// A Field is one fact about an event.
type Field struct{ Name, Value string }

// An Attachment is a file that goes with an event: one certificate in DER, or any
// number in PEM.
type Attachment struct {
	Name string // of the file: "reeve.cer"
	Type string // media type; empty means application/pkix-cert
	Data []byte
}

// Limits of an event. They are far above what a notice needs, and keep a mistake
// from filling mailboxes.
const (
	maxID          = 200
	maxText        = 64 << 10
	maxFields      = 100
	maxAttachments = 10
	maxAttached    = 256 << 10 // bytes of all attachments together
)

// Post puts an event about a tenant into the outbox, in the transaction of what it
// tells about. It refuses what Row refuses.
func Post(tx *store.Tx, tenant int, e Event) error {
	row, err := e.Row()
	if err != nil {
		return err
	}
	return tx.Post(tenant, row)
}

// Row is the event as the outbox holds it. It refuses an event that names nothing
// or is too large, an attachment that is not a certificate, and a private key
// anywhere.
func (e Event) Row() (store.OutboxEvent, error) {
	if err := e.check(); err != nil {
		// The ID itself may be what is wrong with it.
		return store.OutboxEvent{}, fmt.Errorf("posting an event of kind %.40q: %w", hideKeys(e.Kind), err)
	}
	content, err := json.Marshal(e)
	if err != nil {
		return store.OutboxEvent{}, fmt.Errorf("posting an event of kind %q: %w", e.Kind, err)
	}
	return store.OutboxEvent{ID: e.ID, At: e.At, Content: string(content)}, nil
}

// readRow is the event that a row of the outbox holds.
func readRow(row store.OutboxEvent) (Event, error) {
	var e Event
	if err := json.Unmarshal([]byte(row.Content), &e); err != nil {
		return Event{}, fmt.Errorf("reading event %s from the outbox: %w", row.ID, err)
	}
	return e, nil
}

func (e Event) check() error {
	texts := []string{e.ID, e.Kind, e.Subject, e.Text, e.Remedy}
	for _, f := range e.Fields {
		texts = append(texts, f.Name, f.Value)
	}
	attached := 0
	for _, a := range e.Attachments {
		texts = append(texts, a.Name, a.Type)
		attached += len(a.Data)
	}
	switch all := strings.Join(texts, "\n"); {
	case len(all) > maxText:
		return fmt.Errorf("its texts have %d bytes together, and may have %d", len(all), maxText)
	case len(e.Fields) > maxFields:
		return fmt.Errorf("it has %d fields, and may have %d", len(e.Fields), maxFields)
	case len(e.Attachments) > maxAttachments || attached > maxAttached:
		return fmt.Errorf("it has %d attachments of %d bytes, and may have %d of %d", len(e.Attachments), attached, maxAttachments, maxAttached)
	case hasPrivateKey([]byte(all)):
		return errPrivateKey
	}
	switch {
	case e.ID == "" || len(e.ID) > maxID || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("its ID is not of 1 to %d printable ASCII characters without spaces", maxID)
	case e.Kind == "" || e.Subject == "" || e.At.IsZero():
		return fmt.Errorf("it lacks a kind, a subject or a time")
	case e.Severity != Info && e.Severity != Warning && e.Severity != Critical:
		return fmt.Errorf("%q is no severity", e.Severity)
	}
	for _, a := range e.Attachments {
		if err := checkAttachment(a); err != nil {
			return err
		}
	}
	return nil
}
