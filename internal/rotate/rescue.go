package rotate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// Rungs of the ladder by which an application gets a certificate again, from the top.
const (
	RungOwn     = "own certificate"
	RungStandby = "standby"
	RungManager = "manager"
	RungPerson  = "person"
	RungOffline = "offline kit"
)

// checkRungs tries, once a day and when the active one or the standby is another or has
// begun to be refused, or to work again, what would help if the certificate in use were lost, as
// far as that can be tried without changing anything.
func (w *work) checkRungs(ctx context.Context) error {
	now := w.r.o.Now().UTC()
	active, _ := w.a.Active()
	standby, _ := w.a.Standby()
	var of string
	for _, c := range []credential.Credential{active, standby} {
		of += fmt.Sprintf("%s %t %t ", c.ID, c.Refusals > 0, c.Missing.IsZero())
	}
	if since := now.Sub(w.a.Observed.RungsAt); of == w.a.Observed.RungsOf && since >= 0 && since < 24*time.Hour {
		return nil
	}
	if w.r.breakers.down(serviceToken) {
		return nil // at the look after it is back
	}
	rungs := w.r.Rungs(ctx, w.a)
	w.a.Observed.Rungs, w.a.Observed.RungsAt, w.a.Observed.RungsOf = rungs, now, of
	return w.write(ctx, func(tx *store.CredentialTx) error { return tx.SaveApplication(w.a) })
}

// Rungs says which ways there are to get a working certificate to an application again,
// and which of them work now.
func (r *Rotator) Rungs(ctx context.Context, a credential.Application) []credential.Rung {
	var rungs []credential.Rung
	add := func(name string, works credential.Certainty, text string, args ...any) {
		rungs = append(rungs, credential.Rung{Name: name, Works: works, Text: fmt.Sprintf(text, args...)})
	}
	prove := func(c credential.Credential) error {
		pair, err := r.Pair(ctx, c)
		if err != nil {
			return err
		}
		_, err = r.obtain(ctx, m365.ProofRequest{TenantID: a.TenantID, ClientID: a.ClientID, Pair: pair, Resource: a.Policy.Resources[0], Skew: skew(a, r.o.Now())})
		return err
	}
	answer := func(err error) credential.Certainty {
		if errors.Is(err, m365.ErrTransient) || errors.Is(err, m365.ErrThrottled) {
			return credential.Unknown
		}
		return credential.No
	}
	switch c, ok := a.Active(); {
	case ok:
		if err := prove(c); err != nil {
			add(RungOwn, answer(err), "certificate %s: %v", c.SHA1, err)
			break
		}
		add(RungOwn, credential.Yes, "certificate %s has just signed in, and can sign for a new one", c.SHA1)
	default:
		add(RungOwn, credential.No, "reeve has no certificate of it in use")
	}
	switch c, ok := a.Standby(); {
	case ok:
		if err := prove(c); err != nil {
			add(RungStandby, answer(err), "certificate %s: %v", c.SHA1, err)
			break
		}
		add(RungStandby, credential.Yes, "certificate %s waits, and has just signed in", c.SHA1)
	default:
		add(RungStandby, credential.No, "none waits")
	}
	works, text := r.managerMayWrite(ctx, a)
	add(RungManager, works, "%s", text)
	add(RungPerson, credential.Unknown, "somebody with the role Application Administrator, or an owner of the application, signs in: reeve cert rescue %s --device-code", a.ClientID)
	add(RungOffline, credential.Yes, "files for somebody who administers the tenant: reeve cert rescue %s --offline FOLDER", a.ClientID)
	return rungs
}

// managerMayWrite says whether the identity that reads applications may change this one.
// It does not count when it is the application itself: that goes with its certificates.
func (r *Rotator) managerMayWrite(ctx context.Context, a credential.Application) (credential.Certainty, string) {
	if r.o.Directory == nil || r.o.ManagerToken == nil {
		return credential.No, "no other identity is configured (credentials.manager)"
	}
	clientID, roles, err := r.o.ManagerToken(ctx)
	switch {
	case err != nil:
		return credential.No, "the identity of credentials.manager cannot sign in: " + err.Error()
	case strings.EqualFold(clientID, a.ClientID):
		return credential.No, "credentials.manager is the application itself, which goes with its certificates: a managed identity would not"
	case slices.Contains(roles, "Application.ReadWrite.All"):
		return credential.Yes, "application " + clientID + " signs in and may change every application (Application.ReadWrite.All)"
	case slices.Contains(roles, "Application.ReadWrite.OwnedBy"):
		owned, err := r.o.Directory.Owns(ctx, a.ObjectID, clientID)
		switch {
		case err != nil:
			return credential.Unknown, "application " + clientID + " signs in; whether it owns the application cannot be seen: " + err.Error()
		case owned:
			return credential.Yes, "application " + clientID + " signs in, may change what it owns, and owns the application"
		}
		return credential.No, "application " + clientID + " may change what it owns, and does not own the application: make its service principal an owner"
	}
	return credential.No, "application " + clientID + " signs in and has neither Application.ReadWrite.OwnedBy nor Application.ReadWrite.All"
}

// Kit is what somebody who administers the tenant needs to register a certificate by
// hand. Nothing in it is secret. Where the policy leaves certificates to an authority, and
// there is none yet, it is what the authority needs; the credential is then Keyed.
type Kit struct {
	Credential credential.Credential
	Files      []certstore.NewFile
}

// MakeKit makes a new key and certificate for an application, as far as that goes
// without Entra ID, and the files by which a person registers it. ResumeKit goes on from
// there. It signs nothing that the policy leaves to an authority: the first kit is then
// the request, and the one after the import of the answer has the certificate. The journal
// says that a kit was written when write has put its files where they are wanted; nil if
// nobody wants them.
func (r *Rotator) MakeKit(ctx context.Context, objectID, by, why string, write func(Kit) error) (Kit, error) {
	var kit Kit
	err := r.under(ctx, objectID, func(w *work) error {
		// What has a certificate goes before what still needs one.
		begun := append(w.a.In(credential.Staged, credential.Certified), w.a.In(credential.Keyed, credential.Planned)...)
		c, ok := first(slices.DeleteFunc(begun, func(c credential.Credential) bool {
			return !c.NotAfter.IsZero() && !r.o.Now().Before(c.NotAfter)
		}))
		if !ok {
			if err := w.create(ctx, credential.Step{Action: credential.Create, Why: credential.Wish{By: by, Why: why}.Asked("rescue, asked for")}); err != nil {
				return err
			}
			if err := w.reread(ctx); err != nil {
				return err
			}
			if c, ok = first(w.a.In(credential.Planned)); !ok {
				return errors.New("the new credential is gone: another process is at work; try again")
			}
		}
		for _, step := range []struct {
			in credential.State
			do func(context.Context, credential.Credential) error
		}{{credential.Planned, w.makeKey}, {credential.Keyed, w.certify}, {credential.Certified, w.stage}} {
			if c.State != step.in || c.State == credential.Keyed && w.a.Policy.Issuer == credential.IssuerRequest {
				continue
			}
			if err := w.within(ctx, func(ctx context.Context) error { return step.do(ctx, c) }); err != nil {
				return err
			}
			if err := w.reread(ctx); err != nil {
				return err
			}
			c, _ = w.find(c.ID)
		}
		if c.State == credential.Keyed {
			request, err := r.Request(ctx, w.a, c)
			if err != nil {
				return err
			}
			kit = Kit{c, requestFiles(w.a, c, request)}
			return w.handOut(ctx, kit, "a request for the authority was written", by, why, write)
		}
		if c.State != credential.Staged {
			return fmt.Errorf("credential %s is %s, so that there is nothing to register: see reeve cert show", c.ID, c.State)
		}
		if err := w.within(ctx, func(ctx context.Context) error {
			if seen, err := w.read(ctx); err == nil { // what others have added since the last look
				w.a.Observed.At, w.a.Observed.List = r.o.Now().UTC(), listSeen(r.o.Cloud, seen)
			}
			return nil
		}); err != nil {
			return err
		}
		if c.KeyID == "" {
			c.KeyID = uuid.NewString()
			if err := w.save(ctx, c); err != nil {
				return err
			}
		}
		files, err := kitFiles(r.o.Cloud, w.a, c)
		if err != nil {
			return err
		}
		kit = Kit{c, files}
		return w.handOut(ctx, kit, "a kit for registering it by hand was written", by, why, write)
	})
	return kit, err
}

// KitNames are the names that files of a kit may have.
func KitNames() []string {
	return []string{"README.txt", "request.csr", "certificate.cer", "certificate.pem", "patch.json", "powershell.ps1", "azure-cli.sh", "curl.sh"}
}

// handOut has the files of a kit written, and records that afterwards.
func (w *work) handOut(ctx context.Context, kit Kit, text, by, why string, write func(Kit) error) error {
	if write != nil {
		if err := write(kit); err != nil {
			return err
		}
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		e := w.entry(kit.Credential.ID, "rescue", store.Done, credential.Wish{By: by, Why: why}.Asked(text), map[string]any{"key_id": kit.Credential.KeyID, "sha256": kit.Credential.SHA256})
		e.Actor = by
		return tx.Journal(e)
	})
}

// ResumeKit goes on with a certificate that a person says to have registered: tokens
// will tell.
func (r *Rotator) ResumeKit(ctx context.Context, objectID, by string) (credential.Credential, error) {
	var c credential.Credential
	err := r.under(ctx, objectID, func(w *work) error {
		var ok bool
		if c, ok = first(w.a.In(credential.Staged)); !ok {
			return errors.New("no certificate waits to be registered: reeve cert rescue --offline makes one")
		}
		pair, err := w.pair(ctx, c)
		if err != nil {
			return err
		}
		err = w.within(ctx, func(ctx context.Context) error {
			_, err := r.obtain(ctx, m365.ProofRequest{TenantID: w.a.TenantID, ClientID: w.a.ClientID, Pair: pair, Resource: w.a.Policy.Resources[0], Skew: w.skew()})
			return err
		})
		var signIn *m365.SignInError
		if errors.As(err, &signIn) && (signIn.Has(700027) || signIn.Has(700026)) {
			return fmt.Errorf("certificate %s is not registered yet, or Entra ID does not know it everywhere yet, which takes up to a few minutes: %w", c.SHA1, err)
		}
		if err != nil {
			return err
		}
		if c.Sent.IsZero() {
			c.Sent = r.o.Now().UTC()
		}
		c.Attempts, c.RetryAt = 0, time.Time{}
		return w.registered(ctx, c, "it was registered by hand, says "+by+", and a token was obtained with it")
	})
	r.Wake()
	return c, err
}

// requestFiles are the files of a kit for an authority.
func requestFiles(a credential.Application, c credential.Credential, der []byte) []certstore.NewFile {
	values := strings.NewReplacer("{NAME}", a.Name, "{CLIENT}", a.ClientID, "{TENANT}", a.TenantID, "{ID}", c.ID)
	return []certstore.NewFile{
		{Path: "request.csr", Data: pki.EncodeRequest(der)},
		{Path: "README.txt", Data: []byte(values.Replace(requestReadme))},
	}
}

const requestReadme = `A request for a new certificate of the application {NAME}

  tenant          {TENANT}
  application     {CLIENT} (client ID)
  credential      {ID}

Its policy leaves certificates to an authority (issuer: request), so reeve does not sign
one itself. The private key is with reeve and is not in this folder: nothing here is
secret.

1. Give request.csr to your authority, and wait for its answer.
2. Where reeve runs:   reeve cert import {CLIENT} --certificate ANSWER
3. And then:           reeve cert rescue {CLIENT} --offline FOLDER
   which writes the certificate and how it is registered.

If that takes longer than you can wait, and you may: Entra ID takes certificates that sign
themselves as well.

   reeve cert policy set {CLIENT} --issuer self
   reeve cert rescue {CLIENT} --offline FOLDER
`

func first(cs []credential.Credential) (credential.Credential, bool) {
	if len(cs) == 0 {
		return credential.Credential{}, false
	}
	return cs[0], true
}

// kitFiles are the files of a kit.
func kitFiles(cloud m365.Cloud, a credential.Application, c credential.Credential) ([]certstore.NewFile, error) {
	chain, err := certificates(c)
	if err != nil {
		return nil, err
	}
	cert := chain[0]
	ours, err := json.Marshal(graph.NewKey(cert, c.KeyID))
	if err != nil {
		return nil, err
	}
	// What was there when the application was read last, as Graph wants it sent back.
	list := struct {
		Keys []json.RawMessage `json:"keyCredentials"`
	}{}
	if len(a.Observed.List) > 0 {
		if err := json.Unmarshal(a.Observed.List, &list); err != nil {
			return nil, fmt.Errorf("reading the list of keys that was seen last: %w", err)
		}
	}
	list.Keys = append(list.Keys, ours)
	body, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, err
	}
	known := "as it was read at " + cmp.Or(a.Observed.At, a.Adopted).UTC().Format(time.RFC3339)
	if a.Observed.List == nil {
		known = "reeve has never been able to read it: USE patch.json ONLY IF THE APPLICATION HAS NO OTHER CERTIFICATE"
	}
	values := strings.NewReplacer(
		"{NAME}", a.Name, "{OBJECT}", a.ObjectID, "{CLIENT}", a.ClientID, "{TENANT}", a.TenantID, "{GRAPH}", cloud.Graph,
		"{SHA1}", c.SHA1, "{SHA256}", c.SHA256, "{END}", c.NotAfter.UTC().Format(time.DateOnly), "{KNOWN}", known, "{ID}", c.ID)
	file := func(name, text string) certstore.NewFile {
		return certstore.NewFile{Path: name, Data: []byte(values.Replace(text))}
	}
	return []certstore.NewFile{
		{Path: "certificate.cer", Data: cert.Raw},
		{Path: "certificate.pem", Data: pki.EncodeCertificates(cert)},
		{Path: "patch.json", Data: append(body, '\n')},
		file("README.txt", kitReadme),
		file("powershell.ps1", kitPowerShell),
		file("azure-cli.sh", kitAzureCLI),
		file("curl.sh", kitCurl),
	}, nil
}

const kitReadme = `A new certificate for the application {NAME}

  tenant          {TENANT}
  application     {CLIENT} (client ID), {OBJECT} (object ID)
  thumbprint      {SHA1}
  SHA-256         {SHA256}
  valid until     {END}

Its private key is with reeve and is not in this folder: nothing here is secret. Somebody
who may change the application (an owner of it, an Application Administrator or a Cloud
Application Administrator) does ONE of these:

1. In the portal (https://entra.microsoft.com): App registrations > All applications >
   {NAME} > Certificates & secrets > Certificates > Upload certificate: certificate.cer.
   Compare the thumbprint. Leave the other certificates as they are.
2. powershell.ps1, with the module Microsoft.Graph.Applications.
3. azure-cli.sh, with the Azure CLI.
4. curl.sh, with an access token for Microsoft Graph. It sends patch.json, which REPLACES
   the list of the application's certificates. The list is the one that there was, and the
   new one; {KNOWN}. Should Graph answer that there is no key credential with a KeyId,
   somebody has removed that one since: take it out of patch.json.

Then, where reeve runs:   reeve cert rescue {CLIENT} --resume
`

const kitPowerShell = `# Adds the certificate to the application {NAME} and keeps those that it has.
$ErrorActionPreference = 'Stop'
Connect-MgGraph -TenantId '{TENANT}' -Scopes 'Application.ReadWrite.All' -NoWelcome
$file = Join-Path $PSScriptRoot 'certificate.cer'
$new = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new($file)
if ($new.Thumbprint -ne '{SHA1}') { throw "certificate.cer is not the certificate {SHA1}" }
$application = Get-MgApplication -ApplicationId '{OBJECT}' -Property Id, AppId, KeyCredentials
$keys = @($application.KeyCredentials)
if (-not ($keys | Where-Object { $_.Key -and [Convert]::ToBase64String($_.Key) -eq [Convert]::ToBase64String($new.RawData) })) {
  $keys += @{ Type = 'AsymmetricX509Cert'; Usage = 'Verify'; Key = $new.RawData }
  Update-MgApplication -ApplicationId '{OBJECT}' -KeyCredentials $keys
}
(Get-MgApplication -ApplicationId '{OBJECT}' -Property KeyCredentials).KeyCredentials | Format-Table DisplayName, EndDateTime, KeyId
`

const kitAzureCLI = `#!/bin/sh
# Adds the certificate to the application {NAME} and keeps those that it has.
set -eu
cd "$(dirname "$0")"
az login --tenant {TENANT} --allow-no-subscriptions --output none
az ad app credential reset --id {CLIENT} --cert @certificate.pem --append --output none
az ad app credential list --id {CLIENT} --cert --query '[].{name:displayName, end:endDateTime, key:keyId}' --output table
`

const kitCurl = `#!/bin/sh
# Replaces the certificates of the application {NAME} by those in patch.json: those that
# it had, and the new one. TOKEN is an access token for {GRAPH}, such as
#   TOKEN=$(az account get-access-token --resource-type ms-graph --query accessToken --output tsv)
set -eu
cd "$(dirname "$0")"
: "${TOKEN:?an access token for Microsoft Graph}"
printf 'Authorization: Bearer %s' "$TOKEN" | curl --fail-with-body --silent --show-error --header @- \
  --header 'Content-Type: application/json' --request PATCH --data @patch.json \
  '{GRAPH}/v1.0/applications/{OBJECT}'
echo 'Done. Where reeve runs: reeve cert rescue {CLIENT} --resume'
`

// listSeen is the list of key credentials as Graph wants it sent back, to be kept for a
// kit.
func listSeen(cloud m365.Cloud, seen graph.Application) json.RawMessage {
	call, err := graph.SetKeysCall(cloud, seen.ObjectID, seen.Keys)
	if err != nil {
		return nil
	}
	return json.RawMessage(bytes.Clone(call.Body))
}
