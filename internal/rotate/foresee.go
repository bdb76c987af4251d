package rotate

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
)

// Request is a request to Microsoft, shown and not sent. What is secret in it, made anew
// each time, or not known yet stands in angle brackets.
type Request struct {
	Method string      `json:"method"`
	URL    string      `json:"url"`
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
	Note   string      `json:"note,omitempty"`
}

// Foreseen is a step that is to come, if nothing fails until then.
type Foreseen struct {
	credential.Step
	Times    int // how often, with short pauses
	Requests []Request
}

// What stands for what is not known yet.
const (
	shownCertificate = "<certificate>"
	shownKeyID       = "<a new GUID>"
	shownNew         = "new" // begins the ID of a credential that does not exist
)

// maxForeseen bounds the steps that are looked ahead, pauses included.
const maxForeseen = 500

// Foresee plays what is planned for an application on a copy of it, step after step,
// until it is as wanted or nothing more is planned, and reports whether it came so far.
// It takes every step to succeed. Nothing is done, and nobody is asked but Graph for the
// list of keys where a request holds that. Looking at the application is left out.
func (r *Rotator) Foresee(ctx context.Context, a credential.Application, wanted func(credential.Application) bool) (steps []Foreseen, reached bool, err error) {
	a.Credentials, a.Deploys = slices.Clone(a.Credentials), slices.Clone(a.Deploys)
	now := r.o.Now().UTC()
	for range maxForeseen {
		a.Wishes = slices.DeleteFunc(slices.Clone(a.Wishes), func(w credential.Wish) bool {
			if c, ok := a.Find(w.Credential); ok && w.Kind == credential.Revoke && c.State != credential.Compromised {
				c.State, c.Since = credential.Compromised, now
				replace(&a, c)
				steps = append(steps, Foreseen{Step: credential.Step{Action: "revoke", Credential: c.ID, At: now, Why: "asked for by " + w.By, Emergency: true}, Times: 1})
			}
			return slices.Contains(a.Fulfilled(), w)
		})
		if wanted(a) {
			return steps, true, nil
		}
		planned := credential.Plan(now, a, r.o.Rhythm)
		planned = slices.DeleteFunc(planned, func(s credential.Step) bool { return s.Action == credential.Look })
		if !slices.ContainsFunc(planned, func(s credential.Step) bool { return s.Due(now) || !rehearsed(a, s) }) {
			return steps, false, nil
		}
		step := planned[0]
		if step.At.After(now) {
			now = step.At
		}
		step.At = now
		if step.Action == credential.Create {
			step.Credential = fmt.Sprintf("%s-%d", shownNew, len(a.Credentials))
		}
		same := slices.IndexFunc(steps, func(f Foreseen) bool {
			return f.Action == step.Action && f.Credential == step.Credential && f.Hook == step.Hook
		})
		if same >= 0 {
			steps[same].Times++
		} else {
			requests, err := r.Requests(ctx, a, step, now)
			if err != nil {
				return steps, false, err
			}
			steps = append(steps, Foreseen{Step: step, Times: 1, Requests: requests})
		}
		play(&a, step, now)
		now = now.Add(10 * time.Millisecond) // nothing takes no time
	}
	return steps, false, nil
}

// rehearsed reports whether a step proves again what was proved before.
func rehearsed(a credential.Application, s credential.Step) bool {
	c, _ := a.Find(s.Credential)
	return s.Action == credential.Prove && (c.State == credential.Active || c.State == credential.Standby)
}

// play changes an application as a step does that succeeds.
func play(a *credential.Application, s credential.Step, now time.Time) {
	if s.Action == credential.Create {
		a.Credentials = append(a.Credentials, credential.Credential{
			ID: s.Credential, State: credential.Planned, Origin: credential.Made, Reason: s.Why,
			Store: a.Policy.Store, Planned: now, Since: now, Wished: a.Wished(),
		})
		return
	}
	c, ok := a.Find(s.Credential)
	if !ok {
		return
	}
	was := c.State
	c.Attempts, c.RetryAt = 0, time.Time{}
	switch s.Action {
	case credential.MakeKey:
		c.State = credential.Keyed
	case credential.Certify:
		c.State = credential.Certified
		c.NotBefore = now.Add(-backdate)
		c.NotAfter = c.NotBefore.Add(time.Duration(a.Policy.Lifetime))
		c.RenewAt = credential.RenewAt(c.ID, c.NotBefore, c.NotAfter, a.Policy)
	case credential.Stage:
		c.State = credential.Staged
	case credential.Register, credential.Find:
		c.State, c.Sent, c.Registered, c.Reads = credential.Registered, now, now, 0
		if _, ok := speaker(*a, c.ID, now); !ok && s.Action == credential.Register {
			c.Registered = now.Add(listSpan) // the list is read for so long before
		}
		a.Wrote = c.Registered
	case credential.Confirm:
		c.ReadAt = now
		if c.Reads++; c.Reads >= credential.ReadsNeeded || a.Observed.Blind {
			c.State, c.Reads = credential.Proving, 0
		}
	case credential.Prove:
		for _, resource := range a.Policy.Resources {
			p := c.Proofs[resource]
			if p.Count == 0 {
				p.Since = now
			}
			p.Count, p.Last = p.Count+1, now
			c.Proofs = with(c.Proofs, resource, p)
		}
		c.Probed, c.Refused, c.Refusals, c.Missing = now, time.Time{}, 0, time.Time{}
		if c.State == credential.Proving && c.Proven(a.Policy.Resources) {
			c.State, c.Ready = credential.Standby, now
		}
	case credential.Advance:
		active, _ := a.Active()
		a.Generation = max(a.Generation+1, now.Unix())
		c.State, c.Generation, c.Replaces, c.Published, c.Probed = credential.Publishing, a.Generation, active.ID, nil, now
	case credential.Publish:
		for _, old := range a.In(credential.Active) {
			if old.ID == c.ID {
				continue // it was missing somewhere
			}
			old.State, old.Since, old.DrainUntil = credential.Draining, now, now.Add(a.Policy.Drain())
			replace(a, old)
		}
		for _, hook := range a.Policy.Hooks {
			if c.State == credential.Active {
				break
			}
			a.Deploys = append(a.Deploys, credential.Deploy{Credential: c.ID, Hook: hook, DueAt: now})
		}
		if c.State != credential.Active {
			c.State, c.Promoted = credential.Active, now
		}
		c.Published, c.Missing, a.Observed.Targets = a.Policy.Targets, time.Time{}, nil
	case credential.Withdraw:
		c.State, c.Removed, c.Gone, c.Reads = credential.Retiring, time.Time{}, time.Time{}, 0
	case credential.Remove:
		c.Removed, c.Reads, c.Probed, c.Gone, a.Wrote = now, 0, time.Time{}, time.Time{}, now
	case credential.SeeGone:
		c.ReadAt = now
		if c.Reads++; c.Reads >= credential.ReadsNeeded {
			c.Gone = now
		}
	case credential.SeeRefused:
		c.DestroyAfter = now.Add(time.Duration(a.Policy.DestroyAfter))
		if c.State == credential.Compromised {
			c.DestroyAfter = now
		}
		c.State = credential.Retired
	case credential.Destroy:
		c.State = credential.Destroyed
	case credential.Abandon:
		c.State = credential.Abandoned
	case credential.Drain:
		c.State, c.DrainUntil = credential.Draining, now.Add(a.Policy.Drain())
	case credential.Mourn:
		c.State, c.DestroyAfter = credential.Lost, now.Add(time.Duration(a.Policy.DestroyAfter))
	case credential.Deliver:
		a.Deploys = slices.DeleteFunc(a.Deploys, func(d credential.Deploy) bool { return d.Credential == s.Credential && d.Hook == s.Hook })
	}
	if c.State != was {
		c.Since = now
	}
	replace(a, c)
}

func replace(a *credential.Application, c credential.Credential) {
	for i := range a.Credentials {
		if a.Credentials[i].ID == c.ID {
			a.Credentials[i] = c
		}
	}
}

// speaker is the credential that would sign a proof for the application; see
// [work.signer], which also fetches its key.
func speaker(a credential.Application, not string, now time.Time) (credential.Credential, bool) {
	return first(speakers(a, not, now))
}

// Requests are those by which a step changes the application at Graph, and those for
// tokens, as they would be sent.
func (r *Rotator) Requests(ctx context.Context, a credential.Application, s credential.Step, now time.Time) ([]Request, error) {
	i := slices.IndexFunc(a.Credentials, func(c credential.Credential) bool { return c.ID == s.Credential })
	if i < 0 {
		return nil, nil
	}
	c := a.Credentials[i]
	switch s.Action {
	case credential.Register:
		return r.registerRequests(ctx, a, c, now)
	case credential.Remove:
		return r.removeRequests(ctx, a, c, now)
	case credential.Prove:
		return r.tokenRequests(a, c, a.Policy.Resources...), nil
	case credential.SeeRefused:
		return r.tokenRequests(a, c, a.Policy.Resources[:1]...), nil
	case credential.Publish:
		if len(a.Policy.Targets) > 0 {
			all := r.tokenRequests(a, c, a.Policy.Resources[:1]...)
			all[0].Note += ", once for each target, with what was fetched from there"
			return all, nil
		}
	case credential.Advance, credential.Withdraw:
		proved := c
		if s.Action == credential.Withdraw {
			proved, _ = a.Active()
		}
		if now.Sub(proved.Proved(a.Policy.Resources)).Abs() >= credential.FreshProof || proved.Refusals > 0 {
			return r.tokenRequests(a, proved, a.Policy.Resources...), nil
		}
	}
	return nil, nil
}

func (r *Rotator) tokenRequests(a credential.Application, c credential.Credential, resources ...string) []Request {
	var all []Request
	for _, resource := range resources {
		t := r.prover.Request(m365.ProofRequest{TenantID: a.TenantID, ClientID: a.ClientID, Resource: resource})
		all = append(all, Request{Method: t.Method, URL: t.URL, Header: t.Header, Body: formText(t.Form), Note: "signed by " + shownName(c)})
	}
	return all
}

// formText is a form as a person reads it, in the order in which it is sent.
func formText(form map[string][]string) string {
	var parts []string
	for name, values := range form {
		for _, v := range values {
			parts = append(parts, name+"="+v)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

func shownName(c credential.Credential) string {
	if c.SHA1 == "" {
		return "a certificate that does not exist yet"
	}
	return "certificate " + c.SHA1
}

// shownChain is a credential's certificate, or one that stands for it.
func shownChain(c credential.Credential) (*x509.Certificate, error) {
	chain, err := certificates(c)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return &x509.Certificate{Raw: []byte(shownCertificate), NotBefore: c.NotBefore.Truncate(time.Second), NotAfter: c.NotAfter.Truncate(time.Second)}, nil
	}
	return chain[0], nil
}

func shownCall(call m365.Call, note string) Request {
	body := strings.ReplaceAll(string(call.Body), base64.StdEncoding.EncodeToString([]byte(shownCertificate)), shownCertificate)
	return Request{Method: call.Method, URL: call.URL, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Note: note}
}

// list reads the key credentials that a request replaces. What cannot be read now is
// left out, and the note says so.
func (r *Rotator) list(ctx context.Context, a credential.Application) ([]graph.KeyCredential, string) {
	if r.o.Directory == nil {
		return nil, "with all that are there by then in the list besides, as Graph reads them"
	}
	seen, err := r.o.Directory.Application(ctx, a.ObjectID)
	if err != nil {
		return nil, "with all that are there by then in the list besides (they cannot be read now: " + err.Error() + ")"
	}
	return seen.Keys, "the list is as it is now, and is read again before"
}

func (r *Rotator) registerRequests(ctx context.Context, a credential.Application, c credential.Credential, now time.Time) ([]Request, error) {
	cert, err := shownChain(c)
	if err != nil {
		return nil, err
	}
	if by, ok := speaker(a, c.ID, now); ok && c.Method != byPatch {
		token := r.tokenRequests(a, by, r.o.Cloud.GraphAudience)
		return append(token, shownCall(graph.AddKeyCall(r.o.Cloud, a.ObjectID, cert, graph.ShownProof), "as the application itself; the proof is signed by "+shownName(by))), nil
	}
	keys, note := r.list(ctx, a)
	id := c.KeyID
	if id == "" {
		id = shownKeyID
	}
	call, err := graph.SetKeysCall(r.o.Cloud, a.ObjectID, append(slices.Clone(keys), graph.NewKey(cert, id)))
	if err != nil {
		return nil, err
	}
	return []Request{shownCall(call, note)}, nil
}

func (r *Rotator) removeRequests(ctx context.Context, a credential.Application, c credential.Credential, now time.Time) ([]Request, error) {
	if by, ok := speaker(a, c.ID, now); ok {
		id := c.KeyID
		for _, k := range a.Observed.Keys {
			if k.Ours == c.ID {
				id = k.KeyID
			}
		}
		if id == "" {
			id = "<its key ID, as Graph shows it>"
		}
		token := r.tokenRequests(a, by, r.o.Cloud.GraphAudience)
		return append(token, shownCall(graph.RemoveKeyCall(r.o.Cloud, a.ObjectID, id, graph.ShownProof), "as the application itself; the proof is signed by "+shownName(by))), nil
	}
	keys, note := r.list(ctx, a)
	keep := slices.DeleteFunc(slices.Clone(keys), func(k graph.KeyCredential) bool { return isFor(k, c) })
	call, err := graph.SetKeysCall(r.o.Cloud, a.ObjectID, keep)
	if err != nil {
		return nil, err
	}
	return []Request{shownCall(call, note+", without "+shownName(c))}, nil
}
