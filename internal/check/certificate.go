package check

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
)

// CertificateOptions say which certificate is checked, and for which application.
type CertificateOptions struct {
	Cloud    m365.Cloud
	HTTP     *http.Client
	TenantID string
	ClientID string
	Now      func() time.Time // default time.Now

	// Where it is: in a vault under a name, or else where Pair fetches it.
	Vault   *certstore.KeyVault
	Name    string
	Version string // empty for the newest
	// Place names where Pair fetches it: a file, or what reeve looks after.
	Place string
	Pair  func(context.Context) (pki.Pair, error)

	// Graph reads the application's credentials; nil when nobody can.
	Graph *graph.Client
	// Resources are what tokens are asked for.
	Resources []string
	// SendChain is for applications that trust an issuer and a name.
	SendChain bool
	// Days before the end at which the certificate is too old.
	Days int

	// Original are the settings of the original engine, when it is what signs in.
	Original *OriginalSettings
}

// CertificateReport is what was found, line by line. It holds no key and no token.
type CertificateReport struct {
	Outcome    Outcome `json:"outcome"`
	Place      string  `json:"place"`
	ClientID   string  `json:"client_id"`
	Thumbprint string  `json:"thumbprint,omitempty"`
	Lines      []Line  `json:"checks"`
}

// Line is one check.
type Line struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Seen  string `json:"seen"`
	*Finding
}

// Certificate checks it. What cannot be seen is said; there is no other error.
func Certificate(ctx context.Context, o CertificateOptions) *CertificateReport {
	if o.Now == nil {
		o.Now = time.Now
	}
	ctx, cancel := bounded(ctx, checkTimeout)
	defer cancel()
	c := &certificateCheck{o: o, report: &CertificateReport{Place: o.Place, ClientID: o.ClientID}}
	if o.Vault != nil {
		c.report.Place = o.Vault.URL() + "/certificates/" + o.Name
	}
	c.look(ctx)
	c.prove(ctx)
	c.judge()
	return c.report
}

// certificateCheck is one check under way: what was seen, and then what is said of it.
type certificateCheck struct {
	o      CertificateOptions
	report *CertificateReport

	challenge    challenge
	challengeErr error
	public       certstore.VaultCertificate
	publicErr    error
	versions     []certstore.VaultVersion
	versionsErr  error
	pair         pki.Pair
	pairErr      error

	registered    graph.Application
	registeredErr error

	proofs []proved // in the order of the resources
}

type proved struct {
	resource string
	proof    m365.Proof
	err      error
}

// look sees what there is to be seen, side by side.
func (c *certificateCheck) look(ctx context.Context) {
	var wait sync.WaitGroup
	step := func(f func(context.Context)) {
		wait.Go(func() {
			ctx, cancel := bounded(ctx, callTimeout)
			defer cancel()
			f(ctx)
		})
	}
	if v := c.o.Vault; v != nil {
		step(func(ctx context.Context) { c.challenge, c.challengeErr = askChallenge(ctx, c.o.HTTP, v.URL()) })
		step(func(ctx context.Context) { c.public, c.publicErr = v.Look(ctx, c.o.Name, c.o.Version) })
		step(func(ctx context.Context) { c.versions, c.versionsErr = v.Versions(ctx, c.o.Name) })
		step(func(ctx context.Context) { c.pair, c.pairErr = v.Secret(ctx, c.o.Name, c.o.Version) })
	} else {
		step(func(ctx context.Context) { c.pair, c.pairErr = c.o.Pair(ctx) })
	}
	if c.o.Graph != nil {
		step(func(ctx context.Context) {
			c.registered, c.registeredErr = c.o.Graph.ApplicationByClientID(ctx, c.o.ClientID)
		})
	}
	wait.Wait()
}

// prove signs in with the pair for each resource.
func (c *certificateCheck) prove(ctx context.Context) {
	if c.pairErr != nil || c.pair.CheckKey() != nil {
		return
	}
	prover := &m365.Prover{Cloud: c.o.Cloud, HTTP: c.o.HTTP, Now: c.o.Now}
	c.proofs = make([]proved, len(c.o.Resources))
	var wait sync.WaitGroup
	for i, resource := range c.o.Resources {
		wait.Go(func() {
			ctx, cancel := bounded(ctx, callTimeout)
			defer cancel()
			proof, err := prover.Prove(ctx, m365.ProofRequest{
				TenantID: c.o.TenantID, ClientID: c.o.ClientID, Pair: c.pair, Resource: resource, SendChain: c.o.SendChain,
			})
			c.proofs[i] = proved{resource, proof, err}
		})
	}
	wait.Wait()
}

func (c *certificateCheck) say(check string, state State, seen string, f *Finding) {
	c.report.Lines = append(c.report.Lines, Line{check, state, seen, f})
}

func (c *certificateCheck) wrong(check, seen string, f Finding) { c.say(check, Wrong, seen, &f) }

func (c *certificateCheck) skip(check, why string) { c.say(check, Skip, why, nil) }

// failed says of an error whether it is one, or leaves the matter unknown.
func (c *certificateCheck) failed(check string, err error, explain func(error) Finding) {
	if isPassing(err) {
		f := passing(err)
		c.say(check, Dark, "could not be seen", &f)
		return
	}
	c.wrong(check, "", explain(err))
}

func (c *certificateCheck) judge() {
	if c.o.Vault != nil {
		c.judgeVault()
	} else {
		c.judgeFile()
	}
	c.judgePair()
	c.judgeRegistration()
	c.judgeTokens()
	if c.o.Original != nil {
		c.judgeOriginal()
	}
	if certificate := c.certificate(); certificate != nil {
		c.report.Thumbprint = pki.SHA1(certificate)
	}
	c.report.Outcome = Green
	for _, l := range c.report.Lines {
		switch l.State {
		case Wrong:
			c.report.Outcome = Missing
		case Dark:
			if c.report.Outcome == Green {
				c.report.Outcome = Unseen
			}
		}
	}
}

// certificate is the one that was seen, with or without its key; nil for none.
func (c *certificateCheck) certificate() *x509.Certificate {
	switch {
	case c.public.Certificate != nil:
		return c.public.Certificate
	case c.pairErr == nil:
		return c.pair.Certificate
	}
	return nil
}

func (c *certificateCheck) judgeFile() {
	if c.pairErr != nil {
		c.failed("readable", c.pairErr, fileFinding)
		return
	}
	c.say("readable", OK, c.pair.String(), nil)
}

func fileFinding(err error) Finding {
	f := Finding{Cause: err.Error(), Remedy: "give a PEM or PFX file that holds the certificate and its private key, and that this user may read", Who: "whoever looks after this machine"}
	if problem, ok := problemIn(err); ok {
		f.Remedy = problem.Remedy
	}
	return f
}

// judgePair says whether key and certificate belong together, and how long they are good.
func (c *certificateCheck) judgePair() {
	certificate := c.certificate()
	switch {
	case c.pairErr != nil:
		c.skip("private key", "it could not be read")
	default:
		if err := c.pair.CheckKey(); err != nil {
			f := Finding{Cause: err.Error(), Who: "whoever makes the certificates"}
			if problem, ok := problemIn(err); ok {
				f.Cause, f.Remedy = problem.Cause, problem.Remedy
			}
			c.wrong("private key", "", f)
		} else if c.public.Certificate != nil && !bytes.Equal(c.public.Certificate.Raw, c.pair.Certificate.Raw) {
			c.wrong("private key", pki.SHA1(c.pair.Certificate), Finding{
				Cause:  "the vault's secret holds another certificate than the certificate of the same name, " + pki.SHA1(c.public.Certificate) + ": a new version came in between, or somebody wrote the secret",
				Remedy: "check again; if it stays so, import certificate and key anew under one name", Who: whoImports})
		} else {
			c.say("private key", OK, "there, and it belongs to the certificate", nil)
		}
	}
	if certificate == nil {
		c.skip("validity", "no certificate could be read")
		return
	}
	now, days := c.o.Now(), pki.Pair{Certificate: certificate}.DaysLeft(c.o.Now())
	seen := fmt.Sprintf("from %s to %s, %d days left", date(certificate.NotBefore), date(certificate.NotAfter), days)
	renew := "make a new certificate, register it beside this one, use it, and then remove this one (reeve cert does that by itself)"
	switch {
	case now.Before(certificate.NotBefore):
		c.wrong("validity", seen, Finding{Cause: "the certificate is not valid yet", Remedy: "wait, or correct this machine's clock", Waiting: "until " + date(certificate.NotBefore)})
	case now.After(certificate.NotAfter):
		c.wrong("validity", seen, Finding{Cause: "the certificate has expired, and Entra ID refuses it", Remedy: renew, Who: whoRegisters})
	case days < c.o.Days:
		c.wrong("validity", seen, Finding{Cause: fmt.Sprintf("the certificate expires in fewer than %d days", c.o.Days), Remedy: renew, Who: whoRegisters})
	default:
		c.say("validity", OK, seen, nil)
	}
}

// Who can do something about certificates.
const (
	whoRegisters = "an owner of the application, a Cloud Application Administrator or an Application Administrator"
	whoImports   = "somebody with the role Key Vault Certificates Officer, or with certificates import and update in the access policy"
)

// judgeRegistration compares with what Entra ID knows.
func (c *certificateCheck) judgeRegistration() {
	const thumbprint, end = "thumbprint at Entra ID", "credential at Entra ID"
	certificate := c.certificate()
	if certificate == nil {
		c.skip(thumbprint, "no certificate could be read to compare with")
		c.skip(end, "no certificate could be read to compare with")
		return
	}
	ours := pki.SHA1(certificate)
	if c.o.Graph == nil || c.registeredErr != nil {
		c.byToken(thumbprint, ours)
		c.skip(end, "the application cannot be read")
		return
	}
	var keys []graph.KeyCredential
	for _, k := range c.registered.Keys {
		if k.IsFor(certificate) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		c.wrong(thumbprint, ours, Finding{
			Cause:   fmt.Sprintf("the application %s does not have this certificate; it has %d others", c.registered.Name, len(c.registered.Keys)),
			Remedy:  "if reeve looks after the application, 'reeve cert rescue --device-code' registers one that works; otherwise upload the public part (.cer) at Entra ID > App registrations > the application > Certificates & secrets > Certificates, beside those that are there",
			Who:     whoRegisters,
			Waiting: "up to 10 minutes, if it was uploaded just now"})
		c.skip(end, "it is not registered")
		return
	}
	c.say(thumbprint, OK, ours, nil)
	k := slices.MaxFunc(keys, func(a, b graph.KeyCredential) int { return a.End.Compare(b.End) })
	seen := "until " + date(k.End)
	now := c.o.Now()
	switch {
	case !k.End.IsZero() && now.After(k.End):
		c.wrong(end, seen, Finding{Cause: "the credential at Entra ID has ended, whatever the certificate's own date (" + date(certificate.NotAfter) + ") says",
			Remedy: "remove the credential and upload the certificate again, or better a new one", Who: whoRegisters})
	case now.Before(k.Start):
		c.wrong(end, "from "+date(k.Start), Finding{Cause: "the credential at Entra ID is not valid yet", Remedy: "wait, or upload the certificate again", Who: whoRegisters, Waiting: "until " + date(k.Start)})
	case !k.End.IsZero() && k.End.Before(certificate.NotAfter.Add(-24*time.Hour)):
		f := Finding{Cause: "the credential at Entra ID ends before the certificate does (" + date(certificate.NotAfter) + "): the earlier date counts",
			Remedy: "renew before " + date(k.End), Who: whoRegisters}
		if int(k.End.Sub(now).Hours()/24) < c.o.Days {
			c.wrong(end, seen, f)
		} else {
			c.say(end, Note, seen, &f)
		}
	default:
		c.say(end, OK, seen, nil)
	}
}

// byToken says what tokens tell of a registration that cannot be read: one that was
// given shows that Entra ID knows the certificate.
func (c *certificateCheck) byToken(check, ours string) {
	why := "the application cannot be read, which takes Application.Read.All of Microsoft Graph"
	if c.registeredErr != nil && isPassing(c.registeredErr) {
		why = "the application could not be read just now"
	}
	given := func(p proved) bool { return p.err == nil }
	switch {
	case slices.ContainsFunc(c.proofs, given):
		c.say(check, OK, ours+"; Entra ID gave a token for it ("+why+")", nil)
	case slices.ContainsFunc(c.proofs, func(p proved) bool { return p.err != nil && !isPassing(p.err) }):
		c.skip(check, why+"; see the token")
	default:
		c.say(check, Dark, ours, &Finding{Cause: why + ", and no token tells", Remedy: "compare the thumbprint with those at Entra ID > App registrations > the application > Certificates & secrets", Who: whoRegisters})
	}
}

func (c *certificateCheck) judgeTokens() {
	if c.proofs == nil {
		for _, r := range c.o.Resources {
			c.skip("token for "+r, "there is no private key to sign in with")
		}
		return
	}
	for _, p := range c.proofs {
		name := "token for " + p.resource
		if p.err != nil {
			c.failed(name, p.err, signInFinding)
			continue
		}
		seen := "obtained"
		if roles := slices.Sorted(slices.Values(p.proof.Roles)); len(roles) > 0 {
			seen += ", with " + strings.Join(roles, ", ")
		} else {
			seen += ", without any permission"
		}
		switch skew := p.proof.Skew; {
		case !p.proof.ByCertificate:
			c.wrong(name, seen, Finding{Cause: "the token does not say that a certificate was used", Remedy: "see who answers for the authority host"})
		case skew.Abs() > 2*time.Minute:
			c.say(name, Note, seen, &Finding{Cause: fmt.Sprintf("this machine's clock differs from Entra ID's by %s; from 5 minutes on signing in fails", skew.Abs().Round(time.Second)),
				Remedy: "have the clock set by NTP", Who: "whoever looks after this machine"})
		default:
			c.say(name, OK, seen, nil)
		}
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
