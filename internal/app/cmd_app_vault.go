package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/resources"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
)

// vaultOptions say to which Key Vault the application gets access.
type vaultOptions struct {
	vault, vaultCertificate string
	vaultScript             bool

	address string // of the vault, once it was checked
	use     registration.VaultUse
}

func (o *vaultOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.vault, "vault", "", "give the application access to the Key Vault at this address: to read a certificate, and what --store and --target need")
	f.StringVar(&o.vaultCertificate, "vault-certificate", "", "the certificate there that it is to read, which proves the access")
	f.BoolVar(&o.vaultScript, "vault-script", false, "change nothing in Azure, and print what the vault's owner runs")
	complete(cmd, "vault-certificate", nil)
}

// checkVault checks what was said about the vault, as far as that needs no network.
func (o *vaultOptions) checkVault(cloud m365.Cloud) (err error) {
	switch {
	case o.vault == "" && o.vaultCertificate != "":
		return wrongFlag("vault-certificate", errors.New("give --vault as well: the vault that it is in"))
	case o.vault == "" && o.vaultScript:
		return wrongFlag("vault-script", errors.New("give --vault as well: the vault that it is for"))
	case o.vault == "":
		return nil
	}
	if o.address, err = resources.ParseAddress(cloud, o.vault); err != nil {
		return wrongFlag("vault", err)
	}
	if o.vaultCertificate != "" {
		ref, err := certstore.ParseReference("keyvault:" + o.vaultCertificate)
		if err == nil && ref.Version != "" {
			err = fmt.Errorf("%q names a version: access is to all of them", o.vaultCertificate)
		}
		if err != nil {
			return wrongFlag("vault-certificate", err)
		}
	}
	if !o.vaultScript && cloud.Resources == "" {
		return failWith(exitConfig, "resources-endpoint is not set, the address of Azure Resource Manager in a cloud of your own, which --vault needs")
	}
	if o.vaultScript {
		if _, err := registration.VaultScript(o.address, "", o.use); err != nil {
			return wrongFlag("vault-script", err)
		}
	}
	return nil
}

// needsVault reports whether the flags have the autopilot use vault-url.
func (o *policyFlags) needsVault() bool {
	if o.store == credential.StoreSecrets || o.store == credential.StoreKeys {
		return true
	}
	for _, t := range o.targets {
		if ref, err := certstore.ParseTarget(t); err == nil && ref.Kind == certstore.TargetKeyVault && ref.VaultURL == "" {
			return true
		}
	}
	return false
}

// usedBy is what a policy uses a vault for.
func (o *vaultOptions) usedBy(p credential.Policy, vaultURL string) registration.VaultUse {
	usual := strings.EqualFold(strings.TrimSuffix(vaultURL, "/"), o.address)
	u := registration.VaultUse{Read: o.vaultCertificate != "", Secrets: usual && p.Store == credential.StoreSecrets, Keys: usual && p.Store == credential.StoreKeys}
	for _, t := range p.Targets {
		ref, err := certstore.ParseTarget(t)
		if err == nil && ref.Kind == certstore.TargetKeyVault && (ref.VaultURL == "" && usual || strings.EqualFold(strings.TrimSuffix(ref.VaultURL, "/"), o.address)) {
			u.Publish = true
		}
	}
	return u
}

// signInAzure signs in, to Azure Resource Manager, who may give access to a vault. A person
// is asked for a second code.
func (p *program) signInAzure(ctx context.Context, a *App, o *administrator, tenantID string) (*resources.Client, error) {
	var who azcore.TokenCredential
	var err error
	if o.how == byDeviceCode {
		fmt.Fprintln(p.Err, "Azure is asked as somebody, too, since a Key Vault is Azure's and not Entra ID's. That takes a second code, now as Microsoft Azure CLI. Sign in as somebody with rights at the vault; it may be another account.")
		who, err = m365.NewAzurePerson(a.Cloud, tenantID, a.http, func(message string) { fmt.Fprintln(p.Err, message) })
	} else {
		who, err = p.asAdministrator(a, o, nil)
	}
	if err != nil {
		return nil, err
	}
	who = &held{inner: who, now: p.now}
	if _, err := m365.Token(ctx, who, a.Cloud.ResourcesAudience); err != nil {
		return nil, err
	}
	return resources.New(resources.Options{Cloud: a.Cloud, Credential: who, HTTP: a.http})
}

// chooseVault finds the vault, and says what access to it is wanted.
func (r *setupRun) chooseVault(ctx context.Context) error {
	if r.address == "" {
		return nil
	}
	p := r.policy
	if app, err := r.app.DB.Application(ctx, r.app.Tenant, r.setup.Record.ObjectID); err == nil {
		p = app.Policy // and what the flags say now
		if err := r.apply(r.cmd, r.app.Cloud, &p); err != nil {
			return err
		}
	}
	r.use = r.usedBy(p, r.app.Config.VaultURL)
	if r.vaultScript {
		return nil
	}
	client, err := r.signInAzure(ctx, r.app, &r.administrator, r.tenant.TenantID)
	if err != nil {
		return err
	}
	v, err := client.FindVault(ctx, r.address)
	switch {
	case errors.Is(err, m365.ErrNotFound), errors.Is(err, m365.ErrForbidden):
		return registration.VaultNotFound(r.address, err)
	case err != nil:
		return err
	}
	r.setup.Resources, r.setup.Wanted.Vault = client, &registration.VaultAccess{Vault: v, Use: r.use}
	return nil
}

// vaultNotes are what somebody should know who gives the application access.
func (r *setupRun) vaultNotes() []string {
	method := r.app.Config.Auth.VaultMethod
	if r.address == "" || !r.use.Publish && !r.use.Secrets && !r.use.Keys || m365.Method(method) == m365.MethodWorkloadIdentity {
		return nil
	}
	return []string{fmt.Sprintf("reeve itself goes into the vault as auth.vault-method says (%s). Where that is another identity than this application, it needs the same access, which set-up does not give.", method)}
}

// script is what the vault's owner runs; empty where nobody asked for it.
func (r *setupRun) script() (string, error) {
	if !r.vaultScript {
		return "", nil
	}
	return registration.VaultScript(r.address, r.setup.Record.PrincipalID, r.use)
}

// proveVault reads in the vault as the application, until that is let in.
func (r *setupRun) proveVault(ctx context.Context, pair pki.Pair) ([]registration.VaultProof, error) {
	if r.setup.Wanted.Vault == nil {
		return nil, nil
	}
	who, err := m365.NewCredential(r.app.Cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: r.tenant.TenantID, ClientID: r.setup.Record.ClientID, Pair: pair}, r.app.http)
	if err != nil {
		return nil, err
	}
	name := r.vaultCertificate
	if name == "" {
		name = "reeve"
	}
	prover := &registration.VaultProver{Use: r.use, Name: name, Patience: registration.UsualPatience, Now: r.now, Sleep: sleep, Say: func(s string) { fmt.Fprintln(r.Err, plain(s)) },
		Contents: resources.Open(resources.Options{Cloud: r.app.Cloud, Credential: who, HTTP: r.app.http}, r.address)}
	return prover.Prove(ctx)
}

// printVaultProofs says what was proved at the vault.
func (r *setupRun) printVaultProofs(proofs []registration.VaultProof) {
	for _, x := range proofs {
		found := "read"
		if !x.Found {
			found = "allowed; the vault has none of that name"
		}
		fmt.Fprintf(r.Out, "%s of %s at %s: %s\n", x.Permission, x.Object, r.address, found)
	}
}
