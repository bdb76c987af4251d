package registration

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// The kinds of a [Refusal], for errors.Is.
var (
	// ErrRole: who has signed in may not do it.
	ErrRole = errors.New("not allowed")
	// ErrTaken: an application is in the way that is not reeve's.
	ErrTaken = errors.New("taken")
	// ErrDeleted: the application is in the recycle bin.
	ErrDeleted = errors.New("in the recycle bin")
	// ErrNotThere: something that should be there is not, or not yet.
	ErrNotThere = errors.New("not there")
	// ErrTenant: it is another tenant than the one that was named.
	ErrTenant = errors.New("another tenant")
	// ErrBusy: Microsoft asks to be left alone for longer than is waited for.
	ErrBusy = errors.New("busy")
)

// Refusal says why a set-up cannot go on, and what would help.
type Refusal struct {
	Kind   error
	Cause  string
	Remedy string
	Who    string // can do it; empty when that goes without saying
	Err    error  // Microsoft's answer, if there was one
}

func (r *Refusal) Error() string {
	s := r.Cause
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

// Hint says what to do, and who can.
func (r *Refusal) Hint() string {
	if r.Who == "" {
		return r.Remedy
	}
	return r.Remedy + "; who can do it: " + r.Who
}

func (r *Refusal) Unwrap() []error { return []error{r.Kind, r.Err} }

// Directory roles, by the IDs of their templates, which are the same in every tenant
// (learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference).
const (
	globalAdministrator           = "62e90394-69f5-4237-9190-012177145e10"
	privilegedRoleAdministrator   = "e8611ab8-c189-46e8-94e1-60213ab1f814"
	applicationAdministrator      = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
	cloudApplicationAdministrator = "158c047a-c907-4556-b7ef-446551a6b5f7"
)

// right is what a caller needs for a step: one of the directory roles, if it is a person;
// all of the permissions, whoever it is.
type right struct {
	who         string
	roles       []string
	permissions []string
}

var (
	mayRegister = right{"an Application Administrator, Cloud Application Administrator or Global Administrator",
		[]string{globalAdministrator, applicationAdministrator, cloudApplicationAdministrator}, []string{"Application.ReadWrite.All"}}
	mayConsent = right{"an Application Administrator, Cloud Application Administrator, Privileged Role Administrator or Global Administrator",
		[]string{globalAdministrator, privilegedRoleAdministrator, applicationAdministrator, cloudApplicationAdministrator}, []string{"AppRoleAssignment.ReadWrite.All"}}
	// Permissions of Graph are not the application administrators' to grant
	// (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent).
	mayConsentToGraph = right{"a Global Administrator or Privileged Role Administrator",
		[]string{globalAdministrator, privilegedRoleAdministrator}, []string{"AppRoleAssignment.ReadWrite.All"}}
	mayGiveRoles = right{"a Global Administrator or Privileged Role Administrator",
		[]string{globalAdministrator, privilegedRoleAdministrator}, []string{"RoleManagement.ReadWrite.Directory"}}
)

// needs is the right that a step needs.
func (s Step) needs() right {
	switch {
	case s.Kind == Role:
		return mayGiveRoles
	case s.Kind == Granted && s.api == permission.Graph.AppID:
		return mayConsentToGraph
	case s.Kind == Granted, s.Kind == TakenBack:
		return mayConsent
	}
	return mayRegister
}

// Permissions lists the delegated permissions that somebody is asked for who sets up.
func Permissions(withRole bool) []string {
	all := []string{"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "User.Read"}
	if withRole {
		all = append(all, "RoleManagement.ReadWrite.Directory")
	}
	return all
}

func forbidden(s Step, err error) *Refusal {
	r := s.needs()
	return &Refusal{Kind: ErrRole, Cause: "Entra ID does not let who has signed in " + s.do(), Who: r.who, Err: err,
		Remedy: "let somebody with the role sign in, with the role active (Privileged Identity Management), or activate yours and run the same command again: what is done stays, and it goes on from there"}
}

// taken is a refusal of an application that a reeve made of which this one knows nothing.
func taken(app graph.Registration) *Refusal {
	return &Refusal{Kind: ErrTaken, Cause: fmt.Sprintf("the application %s (client ID %s) was made by a reeve with another database", app.Name, app.ClientID),
		Remedy: "work with that database, take the application as it is (--client-id " + app.ClientID + "), or choose another name (--name)"}
}

// verdict is what an answer means for a step.
type verdict int

const (
	refused verdict = iota
	exists          // it was made already
	early           // something that it needs is not known everywhere yet
	busy            // Graph failed, or was busy, or the answer was lost
)

// judgeOf tells what an error of Azure's or of Graph's means, and why it is waited for.
func judgeOf(vault bool, err error) (verdict, string) {
	if vault {
		return judgeVault(err)
	}
	return judge(err)
}

// judge tells what an error of Graph's means.
func judge(err error) (verdict, string) {
	var e *m365.Error
	switch {
	case errors.Is(err, m365.ErrThrottled):
		return busy, "Graph is busy"
	case errors.Is(err, m365.ErrTransient):
		return busy, "Graph did not answer, or failed: whether it was done is looked up"
	case errors.Is(err, graph.ErrConflict):
		return busy, "somebody else changes the same object"
	case errors.Is(err, m365.ErrForbidden):
		return refused, ""
	case errors.Is(err, m365.ErrNotFound):
		return early, "not all of Entra ID knows yet what was just made"
	case !errors.As(err, &e):
		return refused, ""
	case strings.Contains(e.Message, "already exist"), strings.Contains(e.Code, "MultipleObjectsWithSameKeyValue"),
		strings.Contains(e.Message, "A conflicting object with one or more"), strings.Contains(e.Message, "already in use"):
		return exists, "it is there, and not shown everywhere yet"
	case strings.Contains(e.Message, "backing application"), strings.Contains(e.Message, "Not a valid reference update"):
		return early, "not all of Entra ID knows yet what was just made"
	}
	return refused, ""
}

// tooBusy is a wait that is not begun.
func tooBusy(told time.Duration, now time.Time, err error) *Refusal {
	return &Refusal{Kind: ErrBusy, Err: err,
		Cause:  fmt.Sprintf("Microsoft asks not to be asked again for %v, which is longer than is waited here", told),
		Remedy: fmt.Sprintf("run the same command again after %s UTC: what is done stays, and it goes on from there", now.Add(told).UTC().Format("2006-01-02 15:04:05"))}
}

// timeout is a wait that has come to its end.
func timeout(s Step, waited string, err error) *Refusal {
	remedy := "run the same command again: what is done stays, and it goes on from there"
	if s.Kind == Owner {
		remedy = "see that " + s.Key + " is the object ID of somebody in this tenant (--owner), and " + remedy
	}
	return &Refusal{Kind: ErrNotThere, Err: err,
		Cause:  fmt.Sprintf("it was tried to %s for %s, without success", s.do(), waited),
		Remedy: remedy}
}
