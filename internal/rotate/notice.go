package rotate

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/notify"
	"github.com/reeve365/reeve/internal/store"
)

// Kinds of the events that are told.
const (
	KindGenerated = "certificate-generated"
	KindRenewed   = "certificate-renewed"
	KindRetired   = "certificate-retired"
	KindAbandoned = "certificate-abandoned"
	KindLost      = "certificate-lost"
	KindRevoked   = "certificate-revoked"
	KindDrift     = "certificate-drift"
	KindRestored  = "certificate-restored"
	KindDeploy    = "certificate-deploy-failed"
)

// post puts an event into the outbox, in the transaction of what it tells about. Telling
// never keeps back what is told: an event that the outbox does not take, because it is too
// large, say, or holds a private key, is in the journal as failed, with the reason, and
// people are told that much in its place.
func (w *work) post(tx *store.CredentialTx, e notify.Event) error {
	e.Fields = append([]notify.Field{
		{Name: "application", Value: w.a.Name}, {Name: "client ID", Value: w.a.ClientID}, {Name: "tenant ID", Value: w.a.TenantID},
	}, e.Fields...)
	if e.At.IsZero() {
		e.At = w.r.o.Now()
	}
	e.Targets = w.a.Policy.Notify
	row, err := e.Row()
	if err != nil {
		w.r.o.Log.Error("A notice cannot be sent as it is.", "application", w.a.ObjectID, "kind", e.Kind, "error", err)
		if err := tx.Journal(w.entry("", stepTell, store.Failed, err.Error(), nil)); err != nil {
			return err
		}
		bare := notify.Event{
			ID: fmt.Sprintf("untold/%x", sha256.Sum256([]byte(e.ID))), Kind: e.Kind, Severity: e.Severity, At: e.At, Targets: e.Targets,
			Subject: "application " + w.a.ClientID + ": " + e.Kind,
			Text:    "The notice about this cannot be sent as it is: " + err.Error() + ".",
			Remedy:  "see what has happened: reeve cert history " + w.a.ClientID,
		}
		if row, err = bare.Row(); err != nil {
			return nil // the journal has it
		}
	}
	return tx.Post(w.r.o.Tenant, row)
}

// stepTell is the journal's word for telling people.
const stepTell = "tell"

// event begins an event about a credential. Its public certificate is attached, never
// its key.
func (w *work) event(kind string, c credential.Credential, severity notify.Severity, subject string, args ...any) notify.Event {
	e := notify.Event{
		ID: kind + "/" + c.ID, Kind: kind, Severity: severity, Subject: w.a.Name + ": " + fmt.Sprintf(subject, args...),
	}
	if c.SHA1 != "" { // it has a certificate
		e.Fields = []notify.Field{
			{Name: "subject", Value: c.Subject}, {Name: "thumbprint (SHA-1)", Value: c.SHA1}, {Name: "SHA-256", Value: c.SHA256},
			{Name: "valid until", Value: c.NotAfter.UTC().Format(time.RFC3339)},
		}
	}
	e.Fields = append(e.Fields, notify.Field{Name: "credential", Value: c.ID})
	return e
}

func attach(e notify.Event, c credential.Credential) notify.Event {
	if chain, err := certificates(c); err == nil && len(chain) > 0 {
		e.Attachments = []notify.Attachment{{Name: c.SHA1 + ".cer", Data: chain[0].Raw}}
	}
	return e
}

func (w *work) noticeGenerated(c credential.Credential) notify.Event {
	e := w.event(KindGenerated, c, notify.Info, "a new certificate was made, registered and proved")
	e.Text = "It waits as the standby. Tokens were obtained with it; nothing has changed for programs yet."
	return attach(e, c)
}

func (w *work) noticeRenewed(c credential.Credential) notify.Event {
	e := w.event(KindRenewed, c, notify.Info, "a new certificate is in use")
	e.ID += fmt.Sprintf("/%d", c.Generation)
	e.Text = fmt.Sprintf("It has become the active one (%s).", c.Reason)
	if before, ok := w.find(c.Replaces); ok && before.State == credential.Active && before.Refusals == 0 {
		e.Text += fmt.Sprintf(" The one before stays usable for %v.", credential.Span(w.a.Policy.Drain()))
	}
	e.Remedy = "programs that read it from the feed, the vault or the directory get it by themselves; one that holds a copy needs the new one within that time"
	return attach(e, c)
}

func (w *work) noticeRetired(c credential.Credential, why string) notify.Event {
	e := w.event(KindRetired, c, notify.Info, "an old certificate was taken away")
	e.Text = "It is gone from Entra ID: " + why + "."
	return e
}

func (w *work) noticeAbandoned(c credential.Credential, why string) notify.Event {
	e := w.event(KindAbandoned, c, notify.Warning, "a new certificate was given up before it was used")
	e.Text = "Why: " + why + ". Nothing has changed for programs."
	e.Remedy = c.Remedy
	return e
}

func (w *work) noticeLost(c credential.Credential) notify.Event {
	e := w.event(KindLost, c, notify.Critical, "somebody removed a certificate at Entra ID")
	e.Text = "reeve did not remove it. Another certificate of reeve's becomes the active one by itself."
	if c.State == credential.Draining {
		e.Text = "reeve did not remove it. Another certificate of reeve's is in use."
	}
	e.Remedy = "find out who did: Entra ID > Audit logs, activity \"Update application – Certificates and secrets management\""
	return e
}

func (w *work) noticeRevoked(c credential.Credential, wish credential.Wish) notify.Event {
	e := w.event(KindRevoked, c, notify.Critical, "a certificate is being revoked")
	e.Text = wish.Asked("It was asked for") + ". "
	if c.State == credential.Active {
		e.Text += "The standby takes over, and then this one is removed at Entra ID without an overlap."
	} else {
		e.Text += "Another is in use, or will be; this one is removed at Entra ID without an overlap."
	}
	e.Remedy = "programs that hold a copy of it stop working now: give them the new one"
	return e
}

func (w *work) noticeDrift(d drifted) notify.Event {
	verb := "removed"
	if d.added {
		verb = "added"
	}
	return notify.Event{
		ID: fmt.Sprintf("%s/%s/%s/%s/%d", KindDrift, w.a.ObjectID, verb, d.key.KeyID, w.r.o.Now().Unix()), Kind: KindDrift, Severity: notify.Warning,
		Subject: w.a.Name + ": " + d.text,
		Text:    "reeve does not touch what is not its own.",
		Remedy:  "if nobody of yours did this, look into Entra ID > Audit logs",
	}
}

func (w *work) noticeTarget(c credential.Credential, name, what string) notify.Event {
	e := w.event(KindDrift, c, notify.Warning, "%s", what)
	e.ID += fmt.Sprintf("/%d/%x", w.r.o.Now().Unix(), sha256.Sum256([]byte(name)))
	e.Text = name + ": " + what + ". The active certificate is published there again."
	e.Remedy = "find out who writes there, or take the place out of the policy: reeve cert policy set"
	return e
}

// noticeRestored tells of keys of others that a list of ours had taken away: those that
// were put back, and those, if any, that are still missing.
func (w *work) noticeRestored(c credential.Credential, ids []string, missing string) notify.Event {
	e := w.event(KindRestored, c, notify.Warning, "certificates of others were lost and are put back")
	e.ID += fmt.Sprintf("/%d", w.r.o.Now().Unix())
	e.Text = fmt.Sprintf("When reeve replaced the list of key credentials, %d of others went missing: %v. They are put back as they were.", len(ids), ids)
	if missing != "" {
		e.Severity, e.Subject = notify.Critical, w.a.Name+": certificates of others were lost"
		e.Text = "When reeve replaced the list of key credentials, others went missing that could not be put back: " + missing + "."
		e.Remedy = "reeve cert history " + w.a.ClientID + " has them, as they were: register them again, or tell whoever uses them"
	}
	return e
}

func (w *work) noticeDeploy(c credential.Credential, d credential.Deploy) notify.Event {
	e := w.event(KindDeploy, c, notify.Critical, "a command or webhook for the new certificate was given up")
	e.ID += fmt.Sprintf("/%d/%x", c.Generation, sha256.Sum256([]byte(d.Hook))) // a hook's text may be long, and has blanks
	e.Text = fmt.Sprintf("%s failed %d times, at last: %s", d.Hook, d.Attempts, d.Error)
	e.Remedy = "do by hand what it was to do, and mend it for the next time"
	return e
}

// tell writes down the findings, and tells people of those that have become due.
func (w *work) tell(ctx context.Context) error {
	found := credential.Assess(w.r.o.Now(), w.a)
	text, err := json.Marshal(found)
	if err != nil {
		return fmt.Errorf("writing the findings: %w", err)
	}
	// In the database, since several processes write findings.
	told := fmt.Sprintf("%x", sha256.Sum256(text))
	if told == w.a.Told {
		return nil
	}
	w.a.Told = told
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.SaveApplication(w.a); err != nil {
			return err
		}
		var rows []store.Finding
		for _, f := range found {
			subject := w.a.ObjectID
			if id := f.Credential + f.Key; id != "" {
				subject += "/" + id
			}
			rows = append(rows, store.Finding{Rule: f.Rule, Subject: subject, Message: w.a.Name + ": " + f.Message, Remedy: f.Remedy})
			if f.Notice == "" {
				continue
			}
			e := notify.Event{
				ID: "finding/" + f.Notice, Kind: f.Rule, Severity: notify.Severity(f.Severity),
				Subject: w.a.Name + ": " + f.Message, Text: f.Message, Remedy: f.Remedy,
			}
			if c, ok := w.find(f.Credential); ok && c.SHA1 != "" {
				e.Fields = append(e.Fields, notify.Field{Name: "thumbprint (SHA-1)", Value: c.SHA1})
			}
			if err := w.post(tx, e); err != nil {
				return err
			}
		}
		return tx.SetFindings(w.r.o.Tenant, w.a.ObjectID, rows)
	})
}
