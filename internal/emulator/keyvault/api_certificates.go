package keyvault

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// attributesOf returns the attributes of a version as answers have them.
func (c *call) attributesOf(a attributes) map[string]any {
	c.vault.mu.RLock()
	level, days := c.vault.state.recoveryLevel(), c.vault.state.Retention
	c.vault.mu.RUnlock()
	out := map[string]any{
		"enabled": a.Enabled, "created": a.Created, "updated": a.Updated,
		"recoveryLevel": level, "recoverableDays": days,
	}
	if a.NotBefore != nil {
		out["nbf"] = *a.NotBefore
	}
	if a.Expires != nil {
		out["exp"] = *a.Expires
	}
	return out
}

// tags are answered even when there are none.
func tagsOf(v version) map[string]string {
	if v.Tags == nil {
		return map[string]string{}
	}
	return v.Tags
}

// withDates adds what the answers about deleted objects have besides.
func (c *call) withDates(body map[string]any, k kind, name string, d deletion) map[string]any {
	body["recoveryId"] = c.link("deleted"+k.collection(), name)
	body["deletedDate"], body["scheduledPurgeDate"] = d.deleted.Unix(), d.gone.Unix()
	return body
}

func (c *call) certificateBody(v certificateView) map[string]any {
	body := c.certificateItem(v, true)
	body["policy"] = c.policyBody(v.name, v.policy)
	if v.pending {
		body["pending"] = map[string]any{"id": c.link("certificates", v.name, "pending")}
	}
	if v.first {
		return body
	}
	one := v.version
	body["kid"], body["sid"] = c.link("keys", v.name, one.ID), c.link("secrets", v.name, one.ID)
	body["cer"] = base64.StdEncoding.EncodeToString(one.leaf().Raw)
	if c.version >= sinceCertOrder {
		body["preserveCertOrder"] = one.KeepOrder
	}
	return body
}

// certificateItem is a certificate in a list.
func (c *call) certificateItem(v certificateView, versioned bool) map[string]any {
	id := c.link("certificates", v.name)
	if versioned {
		id += "/" + v.version.ID
	}
	body := map[string]any{"id": id, "attributes": c.attributesOf(v.version.Attributes), "tags": tagsOf(v.version.version)}
	if !v.first {
		body["x5t"] = origin.Base64URL(directory.Thumbprint(v.version.leaf().Raw))
	}
	return body
}

func (c *call) policyBody(name string, p policy) policy {
	p.ID = c.link("certificates", name, "policy")
	if n := p.X509.Names; n != nil && c.version < sinceMoreNames {
		x, names := *p.X509, *n
		names.IPs, names.URIs = nil, nil
		x.Names = &names
		p.X509 = &x
	}
	return p
}

// inVersion refuses members that the request's version of the API lacks.
func (c *call) inVersion(keepOrder *bool, p *policy) error {
	if keepOrder != nil && c.version < sinceCertOrder {
		return badParameter("Property preserveCertOrder is not known.")
	}
	if p == nil {
		return nil
	}
	names := value(value(p.X509).Names)
	if c.version < sinceMoreNames && (names.IPs != nil || names.URIs != nil || p.PlatformManaged != nil) {
		return badParameter("Property policy has members that the requested version of the API does not know.")
	}
	return nil
}

// pendingToo reports whether a list is to have certificates whose first version
// is under way, too.
func (c *call) pendingToo() (bool, error) {
	switch c.query.Get("includePending") {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, badParameter("The parameter includePending must be true or false.")
}

func listCertificates(c *call) (answer, error) {
	pending, err := c.pendingToo()
	if err != nil {
		return answer{}, err
	}
	return page(c, c.vault.certificates(pending), func(v certificateView) any { return c.certificateItem(v, false) })
}

func listCertificateVersions(c *call) (answer, error) {
	all, err := c.vault.certificateVersions(c.name)
	if err != nil {
		return answer{}, err
	}
	return page(c, all, func(v certificateView) any { return c.certificateItem(v, true) })
}

// certificateAnswer answers with a certificate, or with the error.
func (c *call) certificateAnswer(status int, v certificateView, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{status, c.certificateBody(v)}, nil
}

func getCertificate(c *call) (answer, error) {
	v, err := c.vault.certificate(c.name, c.id)
	return c.certificateAnswer(http.StatusOK, v, err)
}

func updateCertificate(c *call) (answer, error) {
	var in certificateChange
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if err := c.inVersion(nil, in.Policy); err != nil {
		return answer{}, err
	}
	v, err := c.vault.updateCertificate(c.name, c.id, in)
	return c.certificateAnswer(http.StatusOK, v, err)
}

func importCertificate(c *call) (answer, error) {
	var in importation
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if err := c.inVersion(in.KeepOrder, in.Policy); err != nil {
		return answer{}, err
	}
	v, err := c.vault.importCertificate(c.name, in)
	return c.certificateAnswer(http.StatusOK, v, err)
}

// pollAfter is what a client that waits for a creation is told to wait.
const pollAfter = 10 * time.Second

func createCertificate(c *call) (answer, error) {
	var in creation
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if err := c.inVersion(in.KeepOrder, in.Policy); err != nil {
		return answer{}, err
	}
	op, err := c.vault.createCertificate(c.r.Context(), c.name, in, c.settle())
	if err != nil {
		return answer{}, err
	}
	c.location = c.link("certificates", op.name, "pending") + "?api-version=" + c.query.Get("api-version") + "&request_id=" + op.RequestID
	c.retryAfter = pollAfter
	return answer{http.StatusAccepted, c.operationBody(op)}, nil
}

func (c *call) operationBody(op pendingView) map[string]any {
	body := map[string]any{
		"id": c.link("certificates", op.name, "pending"), "issuer": op.Policy.Issuer,
		"csr": base64.StdEncoding.EncodeToString(op.Request), "cancellation_requested": op.Cancel,
		"status": op.Status, "request_id": op.RequestID,
	}
	switch op.Status {
	case inProgress:
		body["status_details"] = "The certificate request is in progress. How long it takes depends on the issuer; ask again later."
		if op.Policy.issuer(issuerUnknown) {
			body["status_details"] = "The certificate request waits for a signed certificate to be merged."
		}
	case completed:
		body["target"] = c.link("certificates", op.name)
	case failed:
		body["error"] = map[string]any{"code": op.ErrorCode, "message": op.ErrorText}
	}
	if c.version >= sinceCertOrder {
		body["preserveCertOrder"] = op.KeepOrder
	}
	return body
}

func (c *call) operationAnswer(op pendingView, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(c.operationBody(op))
}

func getOperation(c *call) (answer, error) {
	op, err := c.vault.operation(c.name, c.query.Get("request_id"))
	if err == nil && op.Status == inProgress {
		c.retryAfter = pollAfter
	}
	return c.operationAnswer(op, err)
}

func updateOperation(c *call) (answer, error) {
	var in struct {
		Cancel *bool `json:"cancellation_requested"`
	}
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if !value(in.Cancel) {
		return answer{}, badParameter("Property cancellation_requested must be true.")
	}
	return c.operationAnswer(c.vault.cancelOperation(c.name, c.settle()))
}

func deleteOperation(c *call) (answer, error) {
	return c.operationAnswer(c.vault.deleteOperation(c.name))
}

func mergeCertificate(c *call) (answer, error) {
	var in merging
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	v, err := c.vault.merge(c.name, in)
	return c.certificateAnswer(http.StatusCreated, v, err)
}

func getPolicy(c *call) (answer, error) {
	p, err := c.vault.policy(c.name)
	if err != nil {
		return answer{}, err
	}
	return ok(c.policyBody(c.name, p))
}

func updatePolicy(c *call) (answer, error) {
	var in policy
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if err := c.inVersion(nil, &in); err != nil {
		return answer{}, err
	}
	p, err := c.vault.updatePolicy(c.name, &in)
	if err != nil {
		return answer{}, err
	}
	return ok(c.policyBody(c.name, p))
}

func (c *call) deletedCertificateAnswer(k kept[certificateView], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	body := c.certificateBody(k.view)
	delete(body, "pending")
	return ok(c.withDates(body, certificateKind, k.view.name, k.deletion))
}

func deleteCertificate(c *call) (answer, error) {
	return c.deletedCertificateAnswer(c.vault.deleteCertificate(c.name, c.settle()))
}

func getDeletedCertificate(c *call) (answer, error) {
	return c.deletedCertificateAnswer(c.vault.deletedCertificate(c.name))
}

func listDeletedCertificates(c *call) (answer, error) {
	pending, err := c.pendingToo()
	if err != nil {
		return answer{}, err
	}
	return page(c, c.vault.deletedCertificates(pending), func(k kept[certificateView]) any {
		return c.withDates(c.certificateItem(k.view, false), certificateKind, k.view.name, k.deletion)
	})
}

func recoverCertificate(c *call) (answer, error) {
	v, err := c.vault.recoverCertificate(c.name, c.settle())
	return c.certificateAnswer(http.StatusOK, v, err)
}

// purgeOf purges an object of a kind.
func purgeOf(k kind) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		if err := c.vault.purge(k, c.name, c.settle()); err != nil {
			return answer{}, err
		}
		return answer{http.StatusNoContent, nil}, nil
	}
}

// backupOf backs up an object of a kind.
func backupOf(k kind) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		text, err := c.vault.backup(k, c.name)
		if err != nil {
			return answer{}, err
		}
		return ok(map[string]any{"value": text})
	}
}

// readBackup reads the body of a restore.
func (c *call) readBackup() (string, error) {
	var in struct {
		Value string `json:"value"`
	}
	err := c.read(&in)
	return in.Value, err
}

func restoreCertificate(c *call) (answer, error) {
	text, err := c.readBackup()
	if err != nil {
		return answer{}, err
	}
	v, err := c.vault.restoreCertificate(text)
	return c.certificateAnswer(http.StatusOK, v, err)
}

func (c *call) contactsAnswer(all []contact, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"id": c.link("certificates", "contacts"), "contacts": all})
}

func getContacts(c *call) (answer, error) { return c.contactsAnswer(c.vault.contacts()) }

func deleteContacts(c *call) (answer, error) { return c.contactsAnswer(c.vault.deleteContacts()) }

func setContacts(c *call) (answer, error) {
	var in struct {
		ID       string    `json:"id"`
		Contacts []contact `json:"contacts"`
	}
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.contactsAnswer(in.Contacts, c.vault.setContacts(in.Contacts))
}

func listIssuers(c *call) (answer, error) {
	all := c.vault.issuers()
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return strings.Compare(fold(a), fold(b)) })
	return page(c, names, func(name string) any {
		return map[string]any{"id": c.link("certificates", "issuers", name), "provider": all[name].Provider}
	})
}

func (c *call) issuerAnswer(i issuer, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	i.ID = c.link("certificates", "issuers", i.Name)
	return ok(i)
}

func getIssuer(c *call) (answer, error) { return c.issuerAnswer(c.vault.issuer(c.name)) }

func deleteIssuer(c *call) (answer, error) { return c.issuerAnswer(c.vault.deleteIssuer(c.name)) }

func setIssuer(c *call) (answer, error) { return c.changeIssuer(false) }

func updateIssuer(c *call) (answer, error) { return c.changeIssuer(true) }

func (c *call) changeIssuer(update bool) (answer, error) {
	var in issuer
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.issuerAnswer(c.vault.setIssuer(c.name, in, update))
}
