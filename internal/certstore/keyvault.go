package certstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// KeyVault is the way to one Azure Key Vault.
type KeyVault struct {
	url          string
	certificates *azcertificates.Client
	secrets      *azsecrets.Client
	keys         *azkeys.Client

	pause func(context.Context, time.Duration) error // between tries
}

// OpenKeyVault prepares the way to the vault at an address such as
// https://NAME.vault.azure.net; nothing is sent. In a cloud of Microsoft's the vault
// must be below that cloud's domain, since it is shown a token.
func OpenKeyVault(vaultURL string, cloud m365.Cloud, cred azcore.TokenCredential, client *http.Client) (*KeyVault, error) {
	u, err := vaultAddress(vaultURL, cloud)
	if err != nil {
		return nil, err
	}
	v := &KeyVault{url: "https://" + u.Host}
	options := m365.ClientOptions(client)
	v.certificates, err = azcertificates.NewClient(v.url, cred, &azcertificates.ClientOptions{
		ClientOptions:                        options,
		DisableChallengeResourceVerification: !cloud.Listed(),
	})
	if err != nil {
		return nil, fmt.Errorf("opening key vault %s: %w", v.url, err)
	}
	v.secrets, err = azsecrets.NewClient(v.url, cred, &azsecrets.ClientOptions{
		ClientOptions:                        options,
		DisableChallengeResourceVerification: !cloud.Listed(),
	})
	if err != nil {
		return nil, fmt.Errorf("opening key vault %s: %w", v.url, err)
	}
	v.keys, err = azkeys.NewClient(v.url, cred, &azkeys.ClientOptions{
		ClientOptions:                        options,
		DisableChallengeResourceVerification: !cloud.Listed(),
	})
	if err != nil {
		return nil, fmt.Errorf("opening key vault %s: %w", v.url, err)
	}
	v.pause = pause
	return v, nil
}

// Get reads a certificate and its private key, the current version when version is
// empty. It needs two permissions, since the vault keeps the private key as a secret
// of the certificate's name: certificates/get and secrets/get. An expired
// certificate is returned like any other.
func (v *KeyVault) Get(ctx context.Context, name, version string) (pki.Pair, error) {
	op := fmt.Sprintf("reading certificate %s from the key vault", name)
	answer, err := v.certificates.GetCertificate(ctx, name, version, nil)
	if err != nil {
		return pki.Pair{}, v.explain(ctx, op, name, getCertificate, err)
	}
	if answer.ID == nil {
		return pki.Pair{}, fmt.Errorf("%s: the vault's answer has no id", op)
	}
	if a := answer.Attributes; a != nil && a.Enabled != nil && !*a.Enabled {
		return pki.Pair{}, fmt.Errorf("%s: version %s is disabled: enable it, or make a new version", op, answer.ID.Version())
	}
	if p := answer.Policy; p != nil && p.KeyProperties != nil && p.KeyProperties.Exportable != nil && !*p.KeyProperties.Exportable {
		return pki.Pair{}, fmt.Errorf("%s: its private key may not leave the vault (its policy says exportable: false): make a certificate with an exportable key", op)
	}
	pair, err := v.secret(ctx, op, name, answer.ID.Version())
	if err != nil {
		return pki.Pair{}, err
	}
	if !bytes.Equal(pair.Certificate.Raw, answer.CER) {
		return pki.Pair{}, fmt.Errorf("%s: its secret holds another certificate, %v", op, pair)
	}
	return pair, nil
}

// Secret reads a certificate and its private key from a secret that holds them as
// PFX without password or as PEM. It needs secrets/get alone.
func (v *KeyVault) Secret(ctx context.Context, name, version string) (pki.Pair, error) {
	return v.secret(ctx, fmt.Sprintf("reading secret %s from the key vault", name), name, version)
}

func (v *KeyVault) secret(ctx context.Context, op, name, version string) (pki.Pair, error) {
	answer, err := v.secrets.GetSecret(ctx, name, version, nil)
	if err != nil {
		return pki.Pair{}, v.explain(ctx, op, name, getSecret, err)
	}
	if answer.Value == nil {
		return pki.Pair{}, fmt.Errorf("%s: the vault's answer has no value", op)
	}
	pair, err := pki.Parse([]byte(*answer.Value), "")
	if err != nil {
		contentType := "none"
		if answer.ContentType != nil {
			contentType = *answer.ContentType
		}
		return pki.Pair{}, fmt.Errorf("%s: its secret (content type %s): %w", op, contentType, err)
	}
	return pair, nil
}

// Permissions of a vault's access policies. The role Key Vault Certificate User has
// both.
const (
	getCertificate = "certificates/get"
	getSecret      = "secrets/get"
)

// Permissions that keeping and publishing take besides.
const (
	importCertificate  = "certificates/import"
	updateCertificate  = "certificates/update"
	recoverCertificate = "certificates/recover"
	listCertificates   = "certificates/list"

	listSecrets   = "secrets/list"
	setSecret     = "secrets/set"
	deleteSecret  = "secrets/delete"
	recoverSecret = "secrets/recover"

	getKey     = "keys/get"
	listKeys   = "keys/list"
	createKey  = "keys/create"
	deleteKey  = "keys/delete"
	recoverKey = "keys/recover"
	signByKey  = "keys/sign"
)

// readsPair reports whether a permission is one of those that reading a pair takes.
func readsPair(permission string) bool {
	return permission == getCertificate || permission == getSecret
}

// officer is the built-in role that has a permission besides those.
func officer(permission string) string {
	switch kind, _, _ := strings.Cut(permission, "/"); {
	case permission == getKey || permission == signByKey:
		return "Key Vault Crypto User"
	case kind == "keys":
		return "Key Vault Crypto Officer"
	case kind == "secrets":
		return "Key Vault Secrets Officer"
	}
	return "Key Vault Certificates Officer"
}

// explain names an error of the SDK. It says what to do about it where more is known
// here than what the vault's code means: which permission is missing; with a name, what is
// not found is answered by the certificates that there are.
func (v *KeyVault) explain(ctx context.Context, op, name, permission string, err error) error {
	var signIn *m365.SignInError
	var answer *azcore.ResponseError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, context.Cause(ctx))
	case errors.As(err, &signIn):
		return fmt.Errorf("%s: %w", op, signIn)
	case !errors.As(err, &answer) || answer.RawResponse == nil:
		var u *url.Error // its text would repeat the address with its query
		if errors.As(err, &u) {
			err = u.Err
		}
		return &m365.Error{Op: op, URL: v.url, Kind: m365.ErrTransient, Err: err}
	}
	e := m365.ReadError(op, answer.RawResponse)
	switch inner := e.Code[strings.LastIndex(e.Code, "/")+1:]; {
	case inner == "ForbiddenByRbac" && readsPair(permission):
		e.Remedy = fmt.Sprintf("the identity that reads the vault has no role with %s: give it Key Vault Certificate User, which covers the certificate and its private key; a new role takes up to 10 minutes", permission)
	case inner == "ForbiddenByRbac":
		e.Remedy = fmt.Sprintf("the identity that uses the vault has no role with %s: give it %s; a new role takes up to 10 minutes", permission, officer(permission))
	case e.Status == http.StatusForbidden && strings.HasPrefix(inner, "Forbidden") && inner != "Forbidden", strings.HasSuffix(inner, "Disabled"):
		// The firewall, the object: no permission helps.
	case e.Status == http.StatusForbidden && readsPair(permission):
		e.Remedy = fmt.Sprintf("the identity that reads the vault lacks %s: its access policy needs %s for the certificate and %s for its private key", permission, getCertificate, getSecret)
	case e.Status == http.StatusForbidden:
		e.Remedy = fmt.Sprintf("the identity that uses the vault lacks %s: add it to its access policy, or with roles give it %s", permission, officer(permission))
	case e.Status == http.StatusNotFound && name != "":
		e.Remedy = v.namesInstead(ctx, name)
	}
	return e
}

// namesInstead lists the certificates that there are, as far as that is allowed and
// in one page.
func (v *KeyVault) namesInstead(ctx context.Context, name string) string {
	pager := v.certificates.NewListCertificatePropertiesPager(nil)
	page, err := pager.NextPage(ctx)
	if err != nil {
		return fmt.Sprintf("there is no %s, and which there are cannot be listed without certificates/list", name)
	}
	var names []string
	for _, p := range page.Value {
		if p != nil && p.ID != nil {
			names = append(names, p.ID.Name())
		}
	}
	if len(names) == 0 {
		return "the vault holds no certificate"
	}
	return "the vault has " + strings.Join(names, ", ")
}

// vaultAddress reads the address of a vault, to which a token of the cloud may be shown.
func vaultAddress(vaultURL string, cloud m365.Cloud) (*url.URL, error) {
	u, err := url.Parse(vaultURL)
	if err != nil {
		return nil, fmt.Errorf("the key vault's address: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("the key vault's address %q is not of the form https://HOST, such as https://contoso.vault.azure.net", vaultURL)
	}
	if cloud.Listed() && !strings.HasSuffix(strings.ToLower(u.Hostname()), "."+cloud.VaultSuffix) {
		return nil, fmt.Errorf("the key vault's address %q is not below %s, the domain of the vaults of cloud %q", vaultURL, cloud.VaultSuffix, cloud.Name)
	}
	return u, nil
}
