package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/rotate"
)

// plannedStep is a step as it is printed.
type plannedStep struct {
	State string            `json:"state"` // there, to do
	Step  registration.Kind `json:"step"`
	What  string            `json:"what"`
	Why   string            `json:"why"`
	Ours  bool              `json:"made_by_reeve,omitempty"`
}

// steps are all that is planned: at Entra ID, the certificate, and the configuration.
func (r *setupRun) steps(plan registration.Plan) []plannedStep {
	var all []plannedStep
	for _, s := range plan.Steps {
		state := isToDo
		if s.There {
			state = isThere
		}
		all = append(all, plannedStep{state, s.Kind, s.What, s.Why, s.Ours})
	}
	all = append(all, r.certificateStep())
	state := isToDo
	if _, changes, err := configChanges(r.file, r.assignments()); err == nil && len(changes) == 0 {
		state = isThere
	}
	return append(all, plannedStep{state, "configuration", r.file, "so that 'reeve serve --config " + r.file + "' works", false})
}

// certificateStep is the first certificate, as it is planned.
func (r *setupRun) certificateStep() plannedStep {
	if r.inUse != nil {
		return plannedStep{isThere, "certificate", short(r.inUse.SHA1) + ", until " + utc(r.inUse.NotAfter), "reeve renews it; it is proved again", true}
	}
	why := fmt.Sprintf("valid for %v, kept in %s, renewed by reeve itself", r.policy.Lifetime, r.policy.Store)
	if r.limit > 0 {
		why += "; the tenant's policy allows no more"
	}
	return plannedStep{isToDo, "certificate", "make one, register it, prove it with tokens", why, false}
}

func (r *setupRun) printPlan(w io.Writer, plan registration.Plan) {
	fmt.Fprintf(w, "Tenant %s; signed in: %s\n\n", nameOfTenant(r.tenant), plain(r.setup.Caller.Name))
	printAligned(w, func(t io.Writer) {
		for _, s := range r.steps(plan) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.State, s.Step, plain(s.What), plain(s.Why))
		}
	})
	if _, changes, err := configChanges(r.file, r.assignments()); err == nil {
		for _, c := range changes {
			fmt.Fprintf(w, "       %s: %s\n", r.file, changed(c))
		}
	}
	if r.setup.Record.ClientID == "" && r.setup.Wanted.ClientID == "" {
		fmt.Fprintf(w, "       %s: client-id is the one that Entra ID chooses\n", r.file)
	}
	fmt.Fprintln(w)
	for _, n := range plan.Notes {
		fmt.Fprintln(w, "note:", plain(n))
	}
	if len(plan.Refusals) > 1 {
		for _, f := range plan.Refusals {
			fmt.Fprintln(w, "refused:", plain(f.Error()))
		}
	}
}

// printDry prints the plan, and the requests by which it would be carried out.
func (r *setupRun) printDry(plan registration.Plan) error {
	var requests []rotate.Request
	for _, q := range plan.Requests(r.app.Cloud, r.setup.Wanted) {
		requests = append(requests, rotate.Request{Method: q.Method, URL: q.URL, Header: q.Header, Body: string(q.Body)})
	}
	if r.inUse == nil {
		requests = append(requests, r.certificateRequests()...)
	}
	script, err := r.script()
	if err != nil {
		return err
	}
	if r.asJSON {
		var refusals []string
		for _, f := range plan.Refusals {
			refusals = append(refusals, f.Error())
		}
		_, changes, err := configChanges(r.file, r.assignments())
		if err != nil {
			return err
		}
		return printJSON(r.Out, map[string]any{"tenant": r.tenant, "signed_in": r.setup.Caller.Name, "steps": r.steps(plan), "config": r.file, "changes": changes,
			"notes": plan.Notes, "refusals": refusals, "requests": requests, "policy": r.policy, "vault_script": script})
	}
	r.printPlan(r.Out, plan)
	requestPrinter{}.print(r.Out, requests)
	fmt.Fprint(r.Out, script)
	fmt.Fprintln(r.Err, "Nothing was changed. OBJECT-ID, CLIENT-ID and PRINCIPAL-ID are chosen by Entra ID, and ASSIGNMENT-ID follows from them. Requests that only read are not listed.")
	return nil
}

// certificateRequests are those of the first certificate, which is not made yet.
func (r *setupRun) certificateRequests() []rotate.Request {
	object := r.setup.Record.ObjectID
	if object == "" {
		object = "OBJECT-ID"
	}
	return []rotate.Request{{Method: http.MethodPatch, URL: strings.TrimSuffix(r.app.Cloud.Graph, "/") + "/v1.0/applications/" + object,
		Body: `{"keyCredentials":[<those that are there>,{"type":"AsymmetricX509Cert","usage":"Verify","key":"<the certificate>"}]}`,
		Note: "the first certificate; tokens are obtained with it after that"}}
}

func printProofs(w io.Writer, proofs []registration.Proof) {
	for _, x := range proofs {
		roles := strings.Join(x.Roles, ", ")
		if roles == "" {
			roles = "no permission, and none is needed"
		}
		fmt.Fprintf(w, "token for %s: %s\n", x.Resource, roles)
	}
}
