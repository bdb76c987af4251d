package emulator

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// WriteClient writes what a client needs to sign in into dir, which it makes
// when it is missing: ca.pem, client.pem (private key and certificate) and
// client.pfx. The files can be read by their owner only. It returns the
// variables that tell a client about them and about the origins, as KEY=value
// in a fixed order: first plain names, then those of the Azure SDKs, of App
// Service and of reeve, those by which Go, OpenSSL, Node, curl and Python trust
// the CA, what logs can be asked of, the control API, and the proxy if there is
// one.
func (e *Emulator) WriteClient(dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the client's files: %w", err)
	}
	client := e.tenant.Client()
	der, err := x509.MarshalPKCS8PrivateKey(client.Key)
	if err != nil {
		return nil, fmt.Errorf("writing the client's files: %w", err)
	}
	pair := append(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: client.Certificate.Raw})...)
	password := e.kept.PFXPassword
	pfx, err := pkcs12.Modern2023.Encode(client.Key, client.Certificate, nil, password)
	if err != nil {
		return nil, fmt.Errorf("writing the client's files: %w", err)
	}
	caFile, pemFile, pfxFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.pfx")
	for _, f := range []struct {
		name    string
		content []byte
	}{{caFile, e.CA()}, {pemFile, pair}, {pfxFile, pfx}} {
		if err := WritePrivate(f.name, f.content); err != nil {
			return nil, fmt.Errorf("writing the client's files: %w", err)
		}
	}
	o := e.cloud.Hosts.Origins
	variables := []string{
		"AUTHORITY_HOST=" + o.Authority,
		"GRAPH_BASE=" + o.Graph,
		"VAULT_URL=" + o.Vault,
		"MANAGE_BASE=" + o.Manage,
		"LOGS_BASE=" + o.Logs,
		"RESOURCES_BASE=" + o.Resources,
		"TENANT_ID=" + e.tenant.ID,
		"CLIENT_ID=" + client.ClientID,
		"CERT_PEM=" + pemFile,
		"CERT_PFX=" + pfxFile,
		"PFX_PASSWORD=" + password,
		"CA_PEM=" + caFile,
		"AZURE_TENANT_ID=" + e.tenant.ID,
		"AZURE_CLIENT_ID=" + client.ClientID,
		"AZURE_CLIENT_CERTIFICATE_PATH=" + pemFile,
		"AZURE_AUTHORITY_HOST=" + o.Authority,
		"IDENTITY_ENDPOINT=" + o.Identity + identityPath,
		"IDENTITY_HEADER=" + e.kept.IdentityHeader,
		"REEVE_CLOUD=custom",
		"REEVE_AUTHORITY_HOST=" + o.Authority,
		"REEVE_GRAPH_ENDPOINT=" + o.Graph,
		"REEVE_MANAGE_ENDPOINT=" + o.Manage,
		"REEVE_LOGS_ENDPOINT=" + o.Logs,
		"REEVE_RESOURCES_ENDPOINT=" + o.Resources,
		"REEVE_VAULT_URL=" + o.Vault,
		"REEVE_CA_FILE=" + caFile,
		"SSL_CERT_FILE=" + caFile,
		"NODE_EXTRA_CA_CERTS=" + caFile,
		"CURL_CA_BUNDLE=" + caFile,
		"REQUESTS_CA_BUNDLE=" + caFile,
		"LOGS_WORKSPACE_ID=" + e.tenant.WorkspaceID,
		"APP_INSIGHTS_ID=" + e.tenant.AppInsightsID,
		"CONTROL_URL=" + o.Control,
		"CONTROL_TOKEN=" + e.kept.ControlToken,
	}
	if e.proxyURL != "" {
		// Not HTTPS_PROXY: that would lead everything else that the shell
		// runs here, too.
		variables = append(variables, "PROXY_URL="+e.proxyURL)
	}
	return variables, nil
}

// ShellExports renders variables, given as KEY=value, as lines that a POSIX
// shell can source. The values are quoted, whatever they hold.
func ShellExports(variables []string) string {
	var b strings.Builder
	for _, v := range variables {
		key, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", key, strings.ReplaceAll(value, "'", `'\''`))
	}
	return b.String()
}

// WritePrivate writes a file that its owner alone can read, whole or not at
// all: who waits for it finds it complete.
func WritePrivate(name string, content []byte) (err error) {
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		if failed := (*os.PathError)(nil); errors.As(err, &failed) {
			err = failed.Err // The name is none that anybody knows.
		}
		return fmt.Errorf("writing a file in %s: %w", filepath.Dir(name), err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
