package clients_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/query/azlogs"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// graphScope is what a client of Graph asks a token for.
const graphScope = "https://graph.microsoft.com/.default"

// testGo puts the Go clients to work: azidentity, MSAL for Go, azcore,
// azcertificates, azsecrets, azkeys and azlogs.
func testGo(t *testing.T, w *world) {
	t.Run("azidentity", func(t *testing.T) { t.Parallel(); azidentitySignsIn(t, w) })
	t.Run("msal", func(t *testing.T) { t.Parallel(); msalSignsIn(t, w) })
	t.Run("graph", func(t *testing.T) { t.Parallel(); azcoreKeepsApplications(t, w) })
	t.Run("services", func(t *testing.T) { t.Parallel(); azcoreAsksServices(t, w) })
	t.Run("graph relations", func(t *testing.T) { t.Parallel(); azcoreKeepsRelations(t, w) })
	t.Run("certificates", func(t *testing.T) { t.Parallel(); azcertificatesKeeps(t, w) })
	t.Run("secrets", func(t *testing.T) { t.Parallel(); azsecretsKeeps(t, w) })
	t.Run("keys", func(t *testing.T) { t.Parallel(); azkeysSigns(t, w) })
	t.Run("logs", func(t *testing.T) { t.Parallel(); azlogsQueries(t, w) })
}

// azure returns the options that all Azure SDK clients for Go share. They try
// once: an error that is repeated is an error of the test.
func (w *world) azure() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: w.HTTPClient(),
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: w.Origins().Authority,
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				azlogs.ServiceName: {Endpoint: w.Origins().Logs + "/v1", Audience: "https://api.loganalytics.io"},
			},
		},
	}
}

// credential returns a credential of an application, by certificate.
func (w *world) credential(t testing.TB, clientID string, p pair, sendChain bool) azcore.TokenCredential {
	t.Helper()
	c, err := azidentity.NewClientCertificateCredential(w.Tenant.ID, clientID, []*x509.Certificate{p.certificate}, p.key,
		&azidentity.ClientCertificateCredentialOptions{
			ClientOptions: w.azure(), DisableInstanceDiscovery: true, SendCertificateChain: sendChain,
		})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// own returns the pair of the demo client.
func (w *world) own() pair { c := w.Tenant.Client(); return pair{c.Certificate, c.Key} }

// clientID returns the client ID of the demo client.
func (w *world) clientID() string { return w.Tenant.Client().ClientID }

// wantRefusal checks that err says code, such as AADSTS700027.
func wantRefusal(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), code) {
		t.Errorf("error %v, want one with %s", err, code)
	}
}

func azidentitySignsIn(t *testing.T, w *world) {
	get := func(c azcore.TokenCredential) error {
		_, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphScope}})
		return err
	}
	secret := func(tenantID, text string) azcore.TokenCredential {
		t.Helper()
		c, err := azidentity.NewClientSecretCredential(tenantID, w.clientID(), text,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: w.azure(), DisableInstanceDiscovery: true})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, c := range map[string]azcore.TokenCredential{
		"certificate":          w.credential(t, w.clientID(), w.own(), false),
		"certificate with x5c": w.credential(t, w.clientID(), w.own(), true),
		"secret":               secret(w.Tenant.ID, w.secret),
	} {
		if err := get(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for code, c := range map[string]azcore.TokenCredential{
		"AADSTS700027":  w.credential(t, w.clientID(), w.stranger, false),
		"AADSTS7000222": secret(w.Tenant.ID, w.expired),
		"AADSTS7000215": secret(w.Tenant.ID, "not the secret"),
		"AADSTS700016":  w.credential(t, uuid.NewString(), w.own(), false),
		"AADSTS90002":   secret(uuid.NewString(), w.secret),
	} {
		wantRefusal(t, get(c), code)
	}
}

func msalSignsIn(t *testing.T, w *world) {
	authority := w.Origins().Authority + "/" + w.Tenant.ID
	get := func(credential confidential.Credential, err error, options ...confidential.Option) error {
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, confidential.WithHTTPClient(w.HTTPClient()), confidential.WithInstanceDiscovery(false))
		client, err := confidential.New(authority, w.clientID(), credential, options...)
		if err != nil {
			t.Fatal(err)
		}
		result, err := client.AcquireTokenByCredential(t.Context(), []string{graphScope})
		if err == nil && time.Until(result.ExpiresOn) < 30*time.Minute {
			t.Errorf("the token ends %s", result.ExpiresOn)
		}
		return err
	}
	certificate := func(p pair) (confidential.Credential, error) {
		return confidential.NewCredFromCert([]*x509.Certificate{p.certificate}, p.key)
	}
	own, err := certificate(w.own())
	if err := get(own, err); err != nil {
		t.Errorf("certificate: %v", err)
	}
	if err := get(own, err, confidential.WithX5C()); err != nil {
		t.Errorf("certificate with x5c: %v", err)
	}
	secret, err := confidential.NewCredFromSecret(w.secret)
	if err := get(secret, err); err != nil {
		t.Errorf("secret: %v", err)
	}
	stranger, err := certificate(w.stranger)
	wantRefusal(t, get(stranger, err), "AADSTS700027")
	expired, err := confidential.NewCredFromSecret(w.expired)
	wantRefusal(t, get(expired, err), "AADSTS7000222")
	// The thumbprint of one certificate and the signature of another.
	mixed, err := certificate(pair{w.own().certificate, w.stranger.key})
	if err == nil {
		wantRefusal(t, get(mixed, nil), "AADSTS700027")
	}
}

// wantStatus checks that err is of the service, and its status and code.
func wantStatus(t testing.TB, err error, status int, code string) {
	t.Helper()
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode != status || code != "" && response.ErrorCode != code {
		t.Errorf("error %v, want %d %s", err, status, code)
	}
}

func azcertificatesKeeps(t *testing.T, w *world) {
	ctx := t.Context()
	c, err := azcertificates.NewClient(w.Origins().Vault, w.credential(t, w.clientID(), w.own(), false),
		&azcertificates.ClientOptions{ClientOptions: w.azure(), DisableChallengeResourceVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetCertificate(ctx, tenant.CertificateName, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.CER, w.own().certificate.Raw) || !bytes.Equal(got.X509Thumbprint, directory.Thumbprint(w.own().certificate.Raw)) {
		t.Errorf("the newest version is not the certificate of the client")
	}
	versions := 0
	for pager := c.NewListCertificatePropertiesVersionsPager(tenant.CertificateName, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		versions += len(page.Value)
	}
	if versions != 2 {
		t.Errorf("%d versions, want 2", versions)
	}
	_, err = c.GetCertificate(ctx, "none", "", nil)
	wantStatus(t, err, http.StatusNotFound, "CertificateNotFound")

	// A request that an authority signs.
	name := "go-csr"
	operation, err := c.CreateCertificate(ctx, name, azcertificates.CreateCertificateParameters{CertificatePolicy: &azcertificates.CertificatePolicy{
		IssuerParameters:          &azcertificates.IssuerParameters{Name: to.Ptr("Unknown")},
		KeyProperties:             &azcertificates.KeyProperties{KeyType: to.Ptr(azcertificates.KeyTypeRSA), KeySize: to.Ptr[int32](2048), Exportable: to.Ptr(true), ReuseKey: to.Ptr(false)},
		SecretProperties:          &azcertificates.SecretProperties{ContentType: to.Ptr("application/x-pkcs12")},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{Subject: to.Ptr("CN=" + name), ValidityInMonths: to.Ptr[int32](6)},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(operation.CSR)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.CheckSignature(); err != nil || request.Subject.CommonName != name {
		t.Errorf("the request is for %s: %v", request.Subject, err)
	}
	_, err = c.MergeCertificate(ctx, name, azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{w.stranger.certificate.Raw}}, nil)
	wantStatus(t, err, http.StatusBadRequest, "BadParameter")
	signed := w.stranger.sign(t, request)
	merged, err := c.MergeCertificate(ctx, name, azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{signed}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(merged.CER, signed) {
		t.Error("another certificate was merged")
	}
	if _, err := c.DeleteCertificate(ctx, name, nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{
		Base64EncodedCertificate: to.Ptr(string(w.stranger.pem(t))),
	}, nil)
	wantStatus(t, err, http.StatusConflict, "")
	if _, err := c.PurgeDeletedCertificate(ctx, name, nil); err != nil {
		t.Fatal(err)
	}
}

func azsecretsKeeps(t *testing.T, w *world) {
	ctx := t.Context()
	c, err := azsecrets.NewClient(w.Origins().Vault, w.credential(t, w.clientID(), w.own(), false),
		&azsecrets.ClientOptions{ClientOptions: w.azure(), DisableChallengeResourceVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	// The secret of a certificate is the pair that the client signs in with.
	secret, err := c.GetSecret(ctx, tenant.CertificateName, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := base64.StdEncoding.DecodeString(*secret.Value)
	if err != nil {
		t.Fatal(err)
	}
	certificates, key, err := azidentity.ParseCertificates(pfx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !certificates[0].Equal(w.own().certificate) || !w.own().key.Equal(key) {
		t.Error("the secret holds another pair")
	}
	set, err := c.SetSecret(ctx, "go-secret", azsecrets.SetSecretParameters{Value: to.Ptr("one")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateSecretProperties(ctx, "go-secret", set.ID.Version(), azsecrets.UpdateSecretPropertiesParameters{
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)},
	}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetSecret(ctx, "go-secret", "", nil)
	wantStatus(t, err, http.StatusForbidden, "Forbidden")
	if _, err := c.DeleteSecret(ctx, "go-secret", nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.SetSecret(ctx, "go-secret", azsecrets.SetSecretParameters{Value: to.Ptr("two")}, nil)
	wantStatus(t, err, http.StatusConflict, "Conflict")
}

func azkeysSigns(t *testing.T, w *world) {
	ctx := t.Context()
	c, err := azkeys.NewClient(w.Origins().Vault, w.credential(t, w.clientID(), w.own(), false),
		&azkeys.ClientOptions{ClientOptions: w.azure(), DisableChallengeResourceVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("what is signed"))
	// The key of the client's certificate signs for it.
	signed, err := c.Sign(ctx, tenant.CertificateName, "", azkeys.SignParameters{
		Algorithm: to.Ptr(azkeys.SignatureAlgorithmPS256), Value: digest[:],
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&w.own().key.PublicKey, crypto.SHA256, digest[:], signed.Result, nil); err != nil {
		t.Errorf("the signature of the certificate's key: %v", err)
	}
	key, err := c.CreateKey(ctx, "go-ec", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC), Curve: to.Ptr(azkeys.CurveNameP256)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Sign(ctx, "go-ec", "", azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, key.Key.X, key.Key.Y))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw.Result) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(raw.Result[:32]), new(big.Int).SetBytes(raw.Result[32:])) {
		t.Error("the signature of the elliptic-curve key is wrong")
	}
	// The Go client encrypts in the vault, the others do it themselves.
	if _, err := c.CreateKey(ctx, "go-rsa", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeRSA), KeySize: to.Ptr[int32](2048)}, nil); err != nil {
		t.Fatal(err)
	}
	seal := azkeys.KeyOperationParameters{Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: digest[:]}
	sealed, err := c.Encrypt(ctx, "go-rsa", "", seal, nil)
	if err != nil {
		t.Fatal(err)
	}
	seal.Value = sealed.Result
	if opened, err := c.Decrypt(ctx, "go-rsa", "", seal, nil); err != nil || !bytes.Equal(opened.Result, digest[:]) {
		t.Errorf("what the vault encrypted cannot be decrypted: %v", err)
	}
	seal.Value = digest[:]
	// A certificate's key wraps, as its key usage says.
	_, err = c.Encrypt(ctx, tenant.CertificateName, "", seal, nil)
	wantStatus(t, err, http.StatusForbidden, "Forbidden")
	wrapped, err := c.WrapKey(ctx, tenant.CertificateName, "", azkeys.KeyOperationParameters{Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: digest[:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := rsa.DecryptOAEP(sha1.New(), nil, w.own().key, wrapped.Result, nil); err != nil || !bytes.Equal(opened, digest[:]) {
		t.Errorf("what the vault wrapped cannot be unwrapped: %v", err)
	}
	_, err = c.Sign(ctx, "go-ec", "", azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:20]}, nil)
	wantStatus(t, err, http.StatusBadRequest, "BadParameter")
}

func azlogsQueries(t *testing.T, w *world) {
	c, err := azlogs.NewClient(w.credential(t, w.clientID(), w.own(), false), &azlogs.ClientOptions{ClientOptions: w.azure()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.QueryWorkspace(t.Context(), w.variable(t, "LOGS_WORKSPACE_ID"), azlogs.QueryBody{
		Query: to.Ptr(w.variable(t, "LOGS_QUERY")), Timespan: to.Ptr(azlogs.NewTimeInterval(w.Tenant.Now().AddDate(0, 0, -7), w.Tenant.Now())),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Tables) != 1 || len(got.Tables[0].Rows) != 10 || *got.Tables[0].Columns[0].Name != "TimeGenerated" {
		t.Errorf("the tables are %+v, want the first ten visits", got.Tables)
	}
	_, err = c.QueryWorkspace(t.Context(), uuid.NewString(), azlogs.QueryBody{Query: to.Ptr(w.variable(t, "LOGS_QUERY"))}, nil)
	wantStatus(t, err, http.StatusNotFound, "PathNotFoundError")
}
