package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// certify makes the first certificate by way of the autopilot, proves the whole, and
// writes the configuration.
func (r *setupRun) certify(ctx context.Context) error {
	a, record := r.app, r.setup.Record
	a.Config.ClientID = record.ClientID
	app, err := r.adopt(ctx, record)
	if err != nil {
		return err
	}
	if _, ok := app.Active(); !ok {
		if app, err = r.firstCertificate(ctx, app); err != nil {
			return err
		}
	}
	active, _ := app.Active()
	pair, err := a.pair(ctx, active)
	if err != nil {
		return err
	}
	if err := r.setup.Confirm(ctx); err != nil {
		return err
	}
	record = r.setup.Record
	proofs, err := r.prove(ctx, pair)
	if err != nil {
		return err
	}
	changes, err := r.writeConfig(r.file, r.assignments())
	if err != nil {
		return err
	}
	vaultProofs, err := r.proveVault(ctx, pair)
	if err != nil {
		return err
	}
	script, err := r.script()
	if err != nil {
		return err
	}
	if r.asJSON {
		return printJSON(r.Out, map[string]any{"vault": vaultProofs, "vault_script": script, "tenant": r.tenant, "registration": record, "proofs": proofs,
			"certificate": pki.Describe(pair.Certificate, r.now()), "config": r.file, "changes": changes})
	}
	fmt.Fprintf(r.Out, "%s is set up in tenant %s: client ID %s\n", plain(record.Name), nameOfTenant(r.tenant), record.ClientID)
	printProofs(r.Out, proofs)
	fmt.Fprintf(r.Out, "certificate %s, until %s\n", active.SHA1, utc(active.NotAfter))
	r.printVaultProofs(vaultProofs)
	if script != "" {
		fmt.Fprintln(r.Err, "What follows is for the owner of the key vault to run, and nothing was changed there:")
		fmt.Fprint(r.Out, script)
	}
	fmt.Fprintf(r.Err, "Next: reeve serve --config %s\n", r.file)
	return nil
}

// adopt lets the autopilot look after the application, if it does not yet.
func (r *setupRun) adopt(ctx context.Context, record registration.Record) (credential.Application, error) {
	a := r.app
	app, err := a.DB.Application(ctx, a.Tenant, record.ObjectID)
	if errors.Is(err, store.ErrNotFound) {
		rotator, err := a.rotation(ctx, nil)
		if err != nil {
			return app, err
		}
		return rotator.Adopt(ctx, rotate.Adoption{ObjectID: record.ObjectID, ClientID: record.ClientID, TenantID: r.tenant.TenantID, Name: record.Name,
			Made: record.MadeAt(), Mode: credential.On, Policy: r.policy, By: actor(), Why: "reeve app setup"})
	}
	if err != nil {
		return app, err
	}
	text := ""
	err = a.DB.ChangeApplication(ctx, a.Tenant, record.ObjectID, func(now *credential.Application) (*store.JournalEntry, error) {
		before := *now
		if err := r.updatePolicy(now); err != nil {
			return nil, err
		}
		if before.Mode == now.Mode && reflect.DeepEqual(before.Policy, now.Policy) {
			return nil, nil
		}
		data, err := json.Marshal(map[string]any{"mode": now.Mode, "policy": now.Policy})
		if err != nil {
			return nil, err
		}
		text = fmt.Sprintf("set-up: mode %s, lifetime %v, proved by %s", now.Mode, now.Policy.Lifetime, strings.Join(now.Policy.Resources, ", "))
		return &store.JournalEntry{At: r.now(), Actor: actor(), Step: "policy", Outcome: store.Done, Text: text, Data: data}, nil
	})
	if err != nil || text == "" {
		return app, err
	}
	fmt.Fprintln(r.Err, plain(text))
	// One that was made under the policy before, and is refused, is given up.
	for _, c := range app.Credentials {
		if c.Stuck && c.State == credential.Staged {
			w := credential.Wish{Kind: credential.Revoke, Credential: c.ID, By: actor(), Why: "reeve app setup: it is refused, and the policy has changed"}
			if _, err := a.DB.AddWish(ctx, a.Tenant, app.ObjectID, w); err != nil {
				return app, err
			}
		}
	}
	return a.DB.Application(ctx, a.Tenant, record.ObjectID)
}

// updatePolicy changes an application that was set up before to what is wanted now. It
// looks at nothing outside, so that it can be done in a transaction.
func (r *setupRun) updatePolicy(app *credential.Application) error {
	app.Mode = credential.On
	resources := slices.Clone(app.Policy.Resources)
	for _, x := range r.policy.Resources {
		if !slices.Contains(resources, x) {
			resources = append(resources, x)
		}
	}
	app.Policy.Resources = resources
	if err := r.apply(r.cmd, r.app.Cloud, &app.Policy); err != nil { // what the flags say now
		return err
	}
	if r.limit > 0 && time.Duration(app.Policy.Lifetime) > r.limit {
		app.Policy.Lifetime = r.policy.Lifetime
	}
	return workable(*app, app.Policy.Check())
}

// certificatePatience is for how long the first certificate is worked on: it takes two
// to three minutes, nearly all of it waiting for Entra ID.
const certificatePatience = 20 * time.Minute

// firstCertificate asks for a certificate, and works until it is in use.
func (r *setupRun) firstCertificate(ctx context.Context, app credential.Application) (credential.Application, error) {
	a := r.app
	fmt.Fprintln(r.Err, "the first certificate: it takes two to three minutes, nearly all of it waiting until all of Entra ID knows it")
	i := slices.IndexFunc(app.Wishes, func(w credential.Wish) bool { return w.Kind == credential.Renew })
	if i < 0 {
		if _, err := a.DB.AddWish(ctx, a.Tenant, app.ObjectID, credential.Wish{Kind: credential.Renew, By: actor(), Why: "reeve app setup"}); err != nil {
			return app, err
		}
		var err error
		if app, err = a.DB.Application(ctx, a.Tenant, app.ObjectID); err != nil {
			return app, err
		}
		i = slices.IndexFunc(app.Wishes, func(w credential.Wish) bool { return w.Kind == credential.Renew })
	}
	bounded, stop := context.WithTimeoutCause(ctx, certificatePatience, &registration.Refusal{Kind: registration.ErrNotThere,
		Cause:  "there is no proved certificate after " + certificatePatience.String(),
		Remedy: "see 'reeve cert show' for what it waits for; then run the same command again, which goes on"})
	defer stop()
	watched, cancel := context.WithCancelCause(bounded)
	defer cancel(nil)
	go r.watch(watched, app.ObjectID, cancel)
	if err := r.pursue(watched, a, app.ObjectID, app.Wishes[i]); err != nil {
		var why *registration.Refusal
		if errors.As(context.Cause(watched), &why) {
			err = why
		}
		return app, err
	}
	return a.DB.Application(ctx, a.Tenant, app.ObjectID)
}

// watch ends the work on a certificate when that needs a person: Entra ID has refused it
// several times, as by a policy of the tenant.
func (r *setupRun) watch(ctx context.Context, objectID string, cancel context.CancelCauseFunc) {
	for sleep(ctx, 2*time.Second) == nil {
		app, err := r.app.DB.Application(ctx, r.app.Tenant, objectID)
		if err != nil {
			continue
		}
		for _, c := range app.Credentials {
			wished := slices.ContainsFunc(app.Wishes, func(w credential.Wish) bool { return w.Credential == c.ID })
			if c.Stuck && !wished && c.State != credential.Abandoned {
				cancel(&registration.Refusal{Kind: registration.ErrNotThere, Cause: "the certificate cannot be put to use: " + c.Error,
					Remedy: strings.TrimPrefix(c.Remedy+"; then run the same command again, which goes on", "; ")})
				return
			}
		}
	}
}

// prove obtains tokens with the certificate until they carry what was consented to, and
// tells as soon as one for each API has.
func (r *setupRun) prove(ctx context.Context, pair pki.Pair) ([]registration.Proof, error) {
	prover := &registration.Prover{Prover: m365.Prover{Cloud: r.app.Cloud, HTTP: r.app.http, Now: r.now}, Uses: r.setup.Wanted.Uses,
		Request:  m365.ProofRequest{TenantID: r.tenant.TenantID, ClientID: r.setup.Record.ClientID, Pair: pair},
		Patience: registration.UsualPatience, Sleep: sleep, Say: func(s string) { fmt.Fprintln(r.Err, plain(s)) },
		Proved: func(proofs []registration.Proof) {
			for _, x := range proofs {
				fmt.Fprintf(r.Err, "proved: a token for %s carries %s\n", x.Resource, plain(cmp.Or(strings.Join(x.Roles, ", "), "no permission, and none is needed")))
			}
			fmt.Fprintln(r.Err, "asking until three in a row do, since some front ends of Entra ID may lag")
		}}
	proofs, err := prover.Prove(ctx)
	if err != nil {
		return nil, err
	}
	return proofs, registration.Check(proofs)
}
