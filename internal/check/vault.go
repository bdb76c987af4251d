package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// challenge is what a vault answers to whom it does not know: who may sign people in.
type challenge struct {
	tenant   string
	resource string
	status   int
}

var (
	challengedBy  = regexp.MustCompile(`(?i)\bauthorization(?:_uri)?="?([^",\s]+)`)
	challengedFor = regexp.MustCompile(`(?i)\b(?:resource|scope)="?([^",\s]+)`)
)

// askChallenge asks a vault without a token.
func askChallenge(ctx context.Context, client *http.Client, vaultURL string) (challenge, error) {
	const op = "asking the key vault who it is"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, vaultURL+"/certificates?api-version=7.4", nil)
	if err != nil {
		return challenge{}, fmt.Errorf("%s: %w", op, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return challenge{}, &m365.Error{Op: op, URL: vaultURL, Kind: m365.ErrTransient, Err: err}
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	c := challenge{status: resp.StatusCode}
	says := resp.Header.Get("WWW-Authenticate")
	if m := challengedBy.FindStringSubmatch(says); m != nil {
		if u, err := url.Parse(m[1]); err == nil {
			c.tenant, _, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		}
	}
	if m := challengedFor.FindStringSubmatch(says); m != nil {
		c.resource = strings.TrimSuffix(m[1], "/.default")
	}
	return c, nil
}

// judgeVault says what the vault shows and what not.
func (c *certificateCheck) judgeVault() {
	c.judgeReach()
	c.judgePermissions()
	if c.publicErr != nil {
		for _, name := range []string{"enabled", "renewal by the vault"} {
			c.skip(name, "the certificate could not be read")
		}
	} else {
		if c.public.Enabled {
			c.say("enabled", OK, "version "+c.public.Version, nil)
		} else {
			c.wrong("enabled", "version "+c.public.Version, Finding{Cause: "the version is disabled, and its key cannot be read", Remedy: "enable it, or make a new version", Who: whoImports})
		}
		c.judgeRenewal()
	}
	c.judgeVersions()
}

func (c *certificateCheck) judgeReach() {
	const reach, tenant = "vault reachable", "vault's tenant"
	host := strings.TrimPrefix(c.o.Vault.URL(), "https://")
	if c.challengeErr != nil {
		f := Finding{Cause: c.challengeErr.Error(), Who: "whoever looks after the network, or the vault",
			Remedy: "see that the name is right and can be resolved from here; a vault with a private endpoint is reached from its network alone"}
		c.say(reach, Dark, host, &f)
		c.skip(tenant, "the vault did not answer")
		return
	}
	c.say(reach, OK, fmt.Sprintf("%s answered %d", host, c.challenge.status), nil)
	mismatch := Finding{Remedy: "compare the tenant ID, and the vault's directory at Azure portal > the vault > Overview; a vault takes tokens of its own tenant alone", Who: "whoever configures the application"}
	switch ours := c.o.TenantID; {
	case c.challenge.tenant == "":
		c.say(tenant, Dark, "", &Finding{Cause: "the answer does not name a tenant, as a vault's does: something else may have answered", Remedy: "see who answers for " + host, Who: "whoever looks after the network"})
	case uuid.Validate(ours) != nil:
		c.say(tenant, OK, c.challenge.tenant+"; the configured one is a name, "+ours, nil)
	case !strings.EqualFold(c.challenge.tenant, ours):
		mismatch.Cause = fmt.Sprintf("the vault belongs to tenant %s, and the application signs in to %s", c.challenge.tenant, ours)
		c.wrong(tenant, c.challenge.tenant, mismatch)
	case c.o.Cloud.Listed() && c.challenge.resource != "" && !strings.EqualFold(strings.TrimSuffix(c.challenge.resource, "/"), c.o.Cloud.VaultAudience):
		mismatch.Cause = fmt.Sprintf("the vault takes tokens for %s, and those of cloud %s are for %s", c.challenge.resource, c.o.Cloud.Name, c.o.Cloud.VaultAudience)
		mismatch.Remedy = "compare the setting cloud with where the vault is"
		c.wrong(tenant, c.challenge.resource, mismatch)
	default:
		c.say(tenant, OK, c.challenge.tenant, nil)
	}
}

// judgePermissions tells the two permissions apart that reading a pair takes.
func (c *certificateCheck) judgePermissions() {
	const public, private = "certificate get", "secret get"
	if c.publicErr != nil {
		c.failed(public, c.publicErr, func(err error) Finding { return vaultFinding(err, "certificates/get") })
	} else {
		c.say(public, OK, c.public.Certificate.Subject.String()+", "+pki.SHA1(c.public.Certificate), nil)
	}
	switch {
	case c.pairErr == nil:
		c.say(private, OK, "the private key can be read", nil)
	case c.publicErr == nil && !c.public.Exportable:
		c.wrong(private, "", Finding{Cause: "the private key may not leave the vault: the certificate's policy says exportable: false",
			Remedy: "make a certificate with an exportable key, or let reeve sign in the vault (reeve cert adopt --store keyvault-keys)", Who: whoImports})
	default:
		c.failed(private, c.pairErr, func(err error) Finding { return vaultFinding(err, "secrets/get") })
	}
}

// judgeRenewal warns of a vault that makes versions of which Entra ID does not know.
func (c *certificateCheck) judgeRenewal() {
	const name = "renewal by the vault"
	if c.public.Renews == "" {
		c.say(name, OK, "off: the vault makes no version by itself", nil)
		return
	}
	c.wrong(name, "on, "+c.public.Renews+", by issuer "+c.public.Issuer, Finding{
		Cause: "the vault will make a new version with a new key by itself. Whoever reads the newest version signs in with it at once, and Entra ID does not know it (AADSTS700027)",
		Remedy: "set the lifetime action to e-mail (Azure portal > the vault > Certificates > the certificate > Issuance Policy), and register each new version before it is the newest; " +
			"reeve does both (reeve cert adopt --target keyvault:NAME)", Who: whoImports})
}

// judgeVersions looks for a newer version than the one that is checked, and for those
// that Entra ID does not know.
func (c *certificateCheck) judgeVersions() {
	const name = "versions"
	if c.versionsErr != nil {
		var e *m365.Error
		if errors.As(c.versionsErr, &e) && e.Status == http.StatusForbidden && !isBlocked(e) {
			c.skip(name, "they cannot be listed without certificates/list, which no program needs that signs in")
			return
		}
		c.failed(name, c.versionsErr, func(err error) Finding { return vaultFinding(err, "certificates/list") })
		return
	}
	enabled := 0
	var newest *certstore.VaultVersion
	for i, v := range c.versions {
		if v.Enabled {
			enabled++
		}
		if newest == nil {
			newest = &c.versions[i]
		}
	}
	seen := fmt.Sprintf("%d, of which %d are enabled", len(c.versions), enabled)
	if newest != nil && c.o.Version != "" && !strings.EqualFold(newest.Version, c.o.Version) {
		c.say(name, Note, seen, &Finding{Cause: "a version is pinned that is not the newest: " + newest.Version + " is", Remedy: "leave the version out, so that a renewed certificate is found", Who: "whoever configures the application"})
		return
	}
	c.say(name, OK, seen, nil)
}

// isBlocked reports a vault that refuses the network, not the caller.
func isBlocked(e *m365.Error) bool {
	return strings.Contains(e.Code, "ForbiddenByFirewall") || strings.Contains(e.Code, "ForbiddenByConnection") || strings.Contains(e.Message, "Client address is not authorized")
}

// vaultFinding says why a vault refused a permission such as certificates/get.
func vaultFinding(err error, lacks string) Finding {
	f := explained(err)
	var signIn *m365.SignInError
	if errors.As(err, &signIn) {
		f.Cause = "The identity that opens the vault cannot sign in. " + f.Cause
		return f
	}
	if problem, ok := problemIn(err); ok {
		f.Remedy = problem.Remedy
	}
	x, _ := m365.ExplanationOf(err)
	switch x.Code {
	case "ForbiddenByRbac", "AccessDenied":
		f.Cause = "What is missing is " + lacks + ". " + f.Cause
		f.Remedy += " The public part is a certificate (certificates/get), the private key a secret of the same name (secrets/get): they are two permissions, and Key Vault Certificates Officer alone reads no private key."
	}
	if f.Who == "" {
		f.Who = whoImports
	}
	return f
}

// problemIn finds what pki says of a file.
func problemIn(err error) (*pki.Problem, bool) {
	var p *pki.Problem
	ok := errors.As(err, &p)
	return p, ok
}
