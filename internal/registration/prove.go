package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

// Proof is what a token showed that was really obtained for an API.
type Proof struct {
	API      string   `json:"api"`
	Resource string   `json:"resource"`
	Roles    []string `json:"roles"`
	// Missing are permissions that feeds need and the token does not carry.
	Missing []permission.Use `json:"-"`
}

// Prover obtains tokens as the application that was set up.
type Prover struct {
	m365.Prover
	Request m365.ProofRequest // without the resource
	Uses    []permission.Use
	// Patience is for how long it is waited that Entra ID knows the certificate and the
	// consent; none when zero.
	Patience time.Duration
	// Proved is told once that there was a token for each API that carries what is needed;
	// it may be nil.
	Proved func([]Proof)
	Say    func(message string)
	Sleep  func(context.Context, time.Duration) error
}

// UsualPatience is for how long consent may take to show in new tokens.
const UsualPatience = 10 * time.Minute

// Resource is the audience of an API's tokens in a cloud.
func Resource(cloud m365.Cloud, api permission.API) string {
	return map[string]string{permission.Graph.Key: cloud.GraphAudience, permission.Manage.Key: cloud.ManageAudience, permission.Logs.Key: cloud.LogsAudience}[api.Key]
}

// APIs are those whose permissions are used; Graph, where none are.
func APIs(uses []permission.Use) []permission.API {
	var all []permission.API
	for _, u := range uses {
		if !slices.Contains(all, u.API) {
			all = append(all, u.API)
		}
	}
	if len(all) == 0 {
		all = []permission.API{permission.Graph}
	}
	return all
}

// inARow is how many tokens for an API, one after the other and each on a new connection,
// have to carry what is needed: a single one may come from a front end that knew first.
const inARow = 3

// askAgain is how long it is waited for the next token after one that lacks something:
// front ends differ, and another one may know.
const askAgain = 2 * time.Second

// Prove obtains tokens for each API until one carries what is needed of it, which is the
// proof, and then until several in a row do, so that programs that sign in get such ones.
func (p *Prover) Prove(ctx context.Context) ([]Proof, error) {
	end := p.now().Add(p.Patience)
	told := false
	all, err := p.proveAll(ctx, end, 1, &told)
	if err != nil || Check(all) != nil {
		return all, err
	}
	if p.Proved != nil {
		p.Proved(all)
	}
	return p.proveAll(ctx, end, inARow, &told)
}

// proveAll obtains tokens for each API, until so many in a row carry what is needed or the
// time is over; it tells once that it waits.
func (p *Prover) proveAll(ctx context.Context, end time.Time, wanted int, told *bool) (all []Proof, err error) {
	for _, api := range APIs(p.Uses) {
		proof, err := p.proveUntil(ctx, api, end, wanted, told)
		if err != nil {
			return all, err
		}
		all = append(all, proof)
	}
	return all, nil
}

func (p *Prover) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

func (p *Prover) proveUntil(ctx context.Context, api permission.API, end time.Time, wanted int, told *bool) (Proof, error) {
	for good := 0; ; {
		proof, err := p.prove(ctx, api)
		switch {
		case err == nil && len(proof.Missing) == 0:
			if good++; good == wanted {
				return proof, nil
			}
			continue
		case err != nil && !mayPass(err), !p.now().Before(end):
			return proof, err
		}
		good = 0
		if !*told {
			*told = true
			why := "a token does not carry " + names(proof.Missing) + " yet"
			if err != nil {
				why = "Entra ID does not give a token yet: " + err.Error()
			}
			p.Say(fmt.Sprintf("waiting, for %v at most, since consent takes its time: %s", end.Sub(p.now()).Round(time.Minute), why))
		}
		wait := max(askAgain, retryAfter(err))
		if p.now().Add(wait).After(end.Add(askAgain)) { // nobody is asked sooner than they say
			return proof, err
		}
		if err := p.Sleep(ctx, wait); err != nil {
			return Proof{}, err
		}
	}
}

// mayPass reports whether a refused token may be given later: what was set up just now is
// not known everywhere.
func mayPass(err error) bool {
	var e *m365.SignInError
	return errors.Is(err, m365.ErrTransient) || errors.As(err, &e) && (e.Has(700016) || e.Has(700027) || e.Has(7000229) || e.Has(650052) || e.Has(500011))
}

// prove obtains one token.
func (p *Prover) prove(ctx context.Context, api permission.API) (Proof, error) {
	r := p.Request
	r.Resource = Resource(p.Cloud, api)
	seen, err := p.Prover.Prove(ctx, r)
	if err != nil {
		return Proof{API: api.Key, Resource: r.Resource}, err
	}
	proof := Proof{API: api.Key, Resource: r.Resource, Roles: seen.Roles}
	for _, u := range p.Uses {
		enough := slices.ContainsFunc(append([]permission.Permission{u.Permission}, u.Enough...), func(e permission.Permission) bool {
			return e.API != api || slices.Contains(seen.Roles, e.Name)
		})
		if u.API == api && !enough {
			proof.Missing = append(proof.Missing, u)
		}
	}
	return proof, nil
}

func names(uses []permission.Use) string {
	var all []string
	for _, u := range uses {
		all = append(all, u.Permission.String())
	}
	return strings.Join(all, ", ")
}

// Check is a refusal for what proofs lack, or nil.
func Check(proofs []Proof) error {
	for _, p := range proofs {
		if len(p.Missing) > 0 {
			u := p.Missing[0]
			return &Refusal{Kind: ErrRole, Cause: fmt.Sprintf("a token for %s does not carry %s. %s", p.Resource, names(p.Missing), u.Without), Who: Step{Kind: Granted, api: u.API.AppID}.needs().who,
				Remedy: "see that an administrator has consented; after consent it can take minutes, and for tokens that programs hold already an hour"}
		}
	}
	return nil
}
