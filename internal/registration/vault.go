package registration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/m365/resources"
)

// VaultAccess is access to a Key Vault that the application is given.
type VaultAccess struct {
	Vault resources.Vault
	Use   VaultUse
}

// VaultUse is what a vault is used for; it is read from, where nothing else is said.
type VaultUse struct {
	Read    bool // a certificate with its private key
	Publish bool // new versions of certificates
	Secrets bool // private keys are kept as secrets
	Keys    bool // private keys are made in it, and sign there
}

// Roles are the narrowest of Azure's roles with which a vault can be used so, in a vault in
// which roles count.
func (u VaultUse) Roles() []resources.Role {
	var all []resources.Role
	switch {
	case u.Publish && u.Secrets:
		all = append(all, resources.CertificatesOfficer, resources.SecretsOfficer)
	case u.Publish:
		all = append(all, resources.CertificatesOfficer, resources.SecretsUser)
	case u.Secrets && u.Read:
		all = append(all, resources.CertificateUser, resources.SecretsOfficer)
	case u.Secrets:
		all = append(all, resources.SecretsOfficer)
	case u.Read, !u.Keys:
		all = append(all, resources.CertificateUser)
	}
	if u.Keys {
		all = append(all, resources.CryptoOfficer)
	}
	return all
}

// Permissions are the same in a vault in which access policies count.
func (u VaultUse) Permissions() []string {
	var all []string
	add := func(collection string, names ...string) {
		for _, name := range names {
			if p := collection + "/" + name; !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	if u.Publish || u.Read || !u.Secrets && !u.Keys {
		add("certificates", "get")
		add("secrets", "get")
	}
	if u.Publish {
		add("certificates", "list", "import", "update", "recover")
	}
	if u.Secrets {
		add("secrets", "get", "list", "set", "delete", "recover")
	}
	if u.Keys {
		add("keys", "get", "list", "create", "sign", "delete", "recover")
	}
	return all
}

func (u VaultUse) why() string {
	var all []string
	for _, x := range []struct {
		is   bool
		text string
	}{{u.Publish, "to publish certificates"}, {u.Secrets, "to keep private keys as secrets"}, {u.Keys, "to make and use private keys"}} {
		if x.is {
			all = append(all, x.text)
		}
	}
	if u.Read || len(all) == 0 {
		all = append([]string{"to read a certificate with its private key, which the vault keeps as a secret"}, all...)
	}
	return strings.Join(all, ", and ")
}

// ofVault reports whether a step changes a vault and not Entra ID.
func (k Kind) ofVault() bool { return k == VaultRole || k == VaultPolicy }

// InVaults reports whether reeve has given access to a vault.
func (r *Record) InVaults() bool {
	return slices.ContainsFunc(r.Made, func(m Made) bool { return m.Kind.ofVault() })
}

// lookAtVault reads what access the service principal has.
func (s *Setup) lookAtVault(ctx context.Context, seen *Seen) (err error) {
	v := s.Wanted.Vault.Vault
	if v.RBAC {
		seen.VaultRoles, err = s.Resources.Assignments(ctx, v.ID, seen.Principal.ObjectID)
	} else {
		seen.Vault, err = s.Resources.Vault(ctx, v.ID)
	}
	if errors.Is(err, m365.ErrForbidden) {
		return VaultForbidden("see who may do what at the key vault "+v.Name, v.RBAC, err)
	}
	return err
}

// vault plans for access to the vault.
func (b *planning) vault() {
	if b.w.Vault == nil {
		return
	}
	v, use := b.w.Vault.Vault, b.w.Vault.Use
	if !strings.EqualFold(v.TenantID, b.w.TenantID) {
		b.refuse(ErrTenant, fmt.Sprintf("the key vault %s belongs to tenant %s, and lets nobody in from tenant %s", v.Name, v.TenantID, b.w.TenantID), "name a vault of this tenant (--vault)", "")
		return
	}
	if !v.RBAC {
		b.vaultPolicy(v, use)
		return
	}
	for _, role := range use.Roles() {
		s := Step{Kind: VaultRole, Key: role.Name + " at " + v.ID, What: role.Name + " at " + v.Name, Why: use.why(), vault: v, role: role}
		if b.seen.Principal != nil {
			s.id = assigned(b.seen.VaultRoles, v.ID, b.seen.Principal.ObjectID, role)
		}
		s.There = s.id != ""
		b.add(s)
	}
}

// assigned is the ID of an assignment that gives a role, that of reeve first.
func assigned(all []resources.Assignment, vaultID, principalID string, role resources.Role) string {
	found, ours := "", resources.AssignmentID(vaultID, principalID, role)
	for _, a := range all {
		switch {
		case strings.EqualFold(a.ID, ours):
			return ours
		case strings.EqualFold(a.RoleID, role.ID), strings.EqualFold(a.RoleID, resources.Administrator.ID):
			found = a.ID
		}
	}
	return found
}

// vaultPolicy plans for an access policy.
func (b *planning) vaultPolicy(v resources.Vault, use VaultUse) {
	s := Step{Kind: VaultPolicy, Key: v.ID, Why: use.why(), vault: v}
	for _, p := range use.Permissions() {
		if b.seen.Principal == nil || !b.seen.Vault.Has(b.seen.Principal.ObjectID, p) {
			s.missing = append(s.missing, p)
		}
	}
	s.There = len(s.missing) == 0
	s.What = strings.Join(use.Permissions(), ", ") + " at " + v.Name
	if m := b.record.find(VaultPolicy, v.ID); m != nil {
		s.added = slices.Clone(m.Required) // what reeve gave before stays recorded
	}
	for _, p := range s.missing {
		if !slices.Contains(s.added, p) {
			s.added = append(s.added, p)
		}
	}
	b.add(s)
}

// unknownAssignment stands for the name of an assignment, which follows from whom it is for.
const unknownAssignment = "ASSIGNMENT-ID"

// vaultRequest is what is sent for a step that changes a vault.
func (s Step) vaultRequest(cloud m365.Cloud, principal string) graph.Request {
	if s.Kind == VaultPolicy {
		return graph.Request{Call: resources.AddPermissions(cloud, s.vault, principal, s.missing)}
	}
	call := resources.AssignRole(cloud, s.vault.ID, principal, s.role)
	if principal == unknownPrincipal {
		id := resources.AssignmentID(s.vault.ID, principal, s.role)
		call.URL = strings.Replace(call.URL, id[strings.LastIndex(id, "/")+1:], unknownAssignment, 1)
	}
	return graph.Request{Call: call}
}

// lookForAccess looks once for what a step gives.
func (s *Setup) lookForAccess(ctx context.Context, step Step, k *ids) (string, bool, error) {
	if step.Kind == VaultPolicy {
		return "", true, nil // of Resource Manager the answer is enough
	}
	all, err := s.Resources.Assignments(ctx, step.vault.ID, k.principal)
	if err != nil {
		return "", false, err
	}
	id := assigned(all, step.vault.ID, k.principal, step.role)
	return id, id != "", nil
}

// change sends a request to whom it is for.
func (s *Setup) change(ctx context.Context, vault bool, r graph.Request, answer any) error {
	if vault {
		return s.Resources.Change(ctx, r.Call)
	}
	return s.Graph.Change(ctx, r, answer)
}

// judgeVault is judge for Azure Resource Manager.
func judgeVault(err error) (verdict, string) {
	switch {
	case errors.Is(err, resources.ErrExists):
		return exists, "the role is given already"
	case errors.Is(err, resources.ErrNoPrincipal):
		return early, "Azure does not know the service principal yet that was just made"
	case errors.Is(err, m365.ErrThrottled), errors.Is(err, m365.ErrTransient):
		return busy, "Azure did not answer, or was busy: whether it was done is looked up"
	}
	return refused, ""
}

// Who can give access to a vault, by its kind
// (learn.microsoft.com/azure/key-vault/general/rbac-guide).
const (
	mayGiveVaultRoles    = "an Owner, User Access Administrator, Role Based Access Control Administrator or Key Vault Data Access Administrator (with Reader) of the vault"
	mayGiveVaultPolicies = "an Owner, Contributor or Key Vault Contributor of the vault"
	vaultScriptRemedy    = "or take --vault-script, which prints what the vault's owner runs, and needs nothing in Azure"
)

// VaultForbidden says who can do what Azure forbids.
func VaultForbidden(what string, rbac bool, err error) *Refusal {
	who := mayGiveVaultPolicies
	if rbac {
		who = mayGiveVaultRoles
	}
	return &Refusal{Kind: ErrRole, Cause: "Azure does not let who has signed in " + what, Who: who, Err: err,
		Remedy: "let somebody sign in who may, and run the same command again: what is done stays, and it goes on from there; " + vaultScriptRemedy}
}

// VaultNotFound says what to do about a vault that whoever has signed in does not see.
func VaultNotFound(address string, err error) *Refusal {
	return &Refusal{Kind: ErrNotThere, Cause: "whoever has signed in to Azure does not see the key vault " + address, Err: err, Who: mayGiveVaultRoles,
		Remedy: "see that the address is right, and that the subscription belongs to this tenant; let somebody sign in who has a role at the vault, " + vaultScriptRemedy}
}

// planVaultRemoval adds what takes away the access to vaults that reeve gave.
func (s *Setup) planVaultRemoval(ctx context.Context, p *Removal) error {
	for _, m := range slices.Backward(s.Record.Made) {
		if !m.Kind.ofVault() {
			continue
		}
		what := "the role " + m.Key
		if m.Kind == VaultPolicy {
			what = "the permissions " + strings.Join(m.Required, ", ") + " in the access policies of " + m.Key
		}
		if s.Resources == nil {
			p.Stays = append(p.Stays, capital(what)+": the vault's owner takes it away.")
			continue
		}
		r, ok, err := s.vaultUndo(ctx, m)
		switch {
		case errors.Is(err, m365.ErrForbidden):
			return VaultForbidden("look at "+what, m.Kind == VaultRole, err)
		case err != nil:
			return err
		case ok:
			p.Steps = append(p.Steps, RemovalStep{What: what, Request: r, made: []Made{m}, vault: true})
		}
	}
	return nil
}

// vaultUndo is what takes one thing away, if it is there.
func (s *Setup) vaultUndo(ctx context.Context, m Made) (graph.Request, bool, error) {
	if m.Kind == VaultRole {
		_, ok, err := there(s.Resources.Assignment(ctx, m.ID))
		return graph.Request{Call: resources.Unassign(s.Cloud, m.ID)}, ok, err
	}
	v, ok, err := there(s.Resources.Vault(ctx, m.Key))
	if err != nil || !ok {
		return graph.Request{}, false, err
	}
	held := slices.DeleteFunc(slices.Clone(m.Required), func(x string) bool { return !v.Has(s.Record.PrincipalID, x) })
	return graph.Request{Call: resources.RemovePermissions(s.Cloud, v, s.Record.PrincipalID, held)}, len(held) > 0, nil
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// VaultProof is what the vault let the application do.
type VaultProof struct {
	Permission string `json:"permission"`
	Object     string `json:"object"`
	Found      bool   `json:"found"` // else the vault let it look, and has no such object
}

// VaultProver asks a vault as the application.
type VaultProver struct {
	Contents *resources.Contents
	Use      VaultUse
	// Name is the object that is asked for; it need not be there.
	Name string
	// Patience is for how long it is waited that roles take effect.
	Patience time.Duration
	Now      func() time.Time
	Say      func(message string)
	Sleep    func(context.Context, time.Duration) error
}

// Prove asks for an object of each collection that is used, until the vault lets the
// application look.
func (p *VaultProver) Prove(ctx context.Context) ([]VaultProof, error) {
	end := p.Now().Add(p.Patience)
	var all []VaultProof
	for _, permission := range p.Use.Permissions() {
		collection, name, _ := strings.Cut(permission, "/")
		if name != "get" {
			continue
		}
		found, err := p.proveUntil(ctx, collection, end)
		if err != nil {
			return all, err
		}
		all = append(all, VaultProof{permission, p.Name, found})
	}
	return all, nil
}

func (p *VaultProver) proveUntil(ctx context.Context, collection string, end time.Time) (bool, error) {
	for told := false; ; told = true {
		found, err := p.Contents.Try(ctx, collection, p.Name)
		switch {
		case err == nil:
			return found, nil
		case errors.Is(err, resources.ErrNetwork):
			return false, &Refusal{Kind: ErrNotThere, Cause: "access is given, and could not be proved: the vault lets nobody in from this network", Err: err,
				Remedy: "let this address through the vault's firewall (the vault > Networking), or run reeve where the vault's private endpoint is"}
		case !errors.Is(err, m365.ErrForbidden) && !mayPass(err):
			return false, err
		case !p.Now().Before(end):
			return false, &Refusal{Kind: ErrNotThere, Cause: fmt.Sprintf("access is given, and the vault did not let the application in for %v", p.Patience), Err: err,
				Remedy: "run the same command again in a few minutes; if it says the same, see the vault's access control (IAM) for deny assignments and for who took the role away"}
		}
		if !told {
			p.Say(fmt.Sprintf("waiting, for %v at most, since roles at a vault take up to 10 minutes to have effect: %v", end.Sub(p.Now()).Round(time.Minute), err))
		}
		wait := max(3*pause, retryAfter(err))
		if p.Now().Add(wait).After(end.Add(3 * pause)) { // nobody is asked sooner than they say
			return false, tooBusy(wait, p.Now(), err)
		}
		if err := p.Sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// vaultName is what Azure allows (learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
var vaultName = regexp.MustCompile(`^[A-Za-z][0-9A-Za-z-]{2,23}$`)

// VaultScript is what the owner of a vault runs to give the access: with the Azure CLI, in
// a POSIX shell. Running it twice changes nothing more.
func VaultScript(address, principalID string, use VaultUse) (string, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(address, "https://"), ".")
	if !vaultName.MatchString(name) {
		return "", fmt.Errorf("the address %.200q does not tell the name of the vault, which a script needs: https://NAME.vault.azure.net", address)
	}
	if principalID == "" {
		principalID = unknownPrincipal
	} else if uuid.Validate(principalID) != nil {
		return "", fmt.Errorf("%.60q is not the object ID of a service principal", principalID)
	}
	b := new(strings.Builder)
	fmt.Fprintf(b, `#!/bin/sh
# Gives reeve's application access to the Key Vault %[1]s, %[2]s.
# Who can run it: %[3]s, if roles count there; else
# %[4]s.
# A second run changes nothing. Nothing in here is secret.
set -eu
principal=%[5]s # the object ID of the application's service principal
vault=$(az keyvault show --name %[1]s --query id --output tsv)
if [ "$(az keyvault show --name %[1]s --query properties.enableRbacAuthorization --output tsv)" = true ]; then
`, name, use.why(), mayGiveVaultRoles, mayGiveVaultPolicies, principalID)
	for _, role := range use.Roles() {
		fmt.Fprintf(b, "  az role assignment create --assignee-object-id \"$principal\" --assignee-principal-type ServicePrincipal \\\n"+
			"    --role %s --scope \"$vault\" --output none # %s\n", role.ID, role.Name)
	}
	// az keyvault set-policy would replace what the application has.
	shown := resources.AddPermissions(m365.Cloud{}, resources.Vault{TenantID: "TENANT"}, "PRINCIPAL", use.Permissions())
	body := strings.NewReplacer(`"`, `\"`, "TENANT", "$tenant", "PRINCIPAL", "$principal").Replace(string(shown.Body))
	_, query, _ := strings.Cut(shown.URL, "?")
	fmt.Fprintf(b, `else
  tenant=$(az keyvault show --name %s --query properties.tenantId --output tsv)
  az rest --method put --url "$vault/accessPolicies/add?%s" --output none \
    --body "%s"
fi
`, name, query, body)
	return b.String(), nil
}

// VaultRemovalScript is what the owner of a vault runs to take away what reeve has given.
func VaultRemovalScript(r Record, tenantID string) string {
	b := new(strings.Builder)
	b.WriteString("#!/bin/sh\n# Takes the access to key vaults away that reeve has given its application. Nothing in here is secret.\nset -eu\n")
	for _, m := range r.Made {
		switch m.Kind {
		case VaultRole:
			fmt.Fprintf(b, "az role assignment delete --ids '%s' # %s\n", m.ID, m.Key)
		case VaultPolicy:
			call := resources.RemovePermissions(m365.Cloud{}, resources.Vault{ID: m.Key, TenantID: tenantID}, r.PrincipalID, m.Required)
			fmt.Fprintf(b, "az rest --method put --url '%s' --output none \\\n  --body '%s'\n", call.URL, call.Body)
		}
	}
	return b.String()
}
