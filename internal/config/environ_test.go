package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnknownVariables(t *testing.T) {
	got := problems(t, Source{Environ: []string{
		"REEVE_TENNANT_ID=x",
		"REEVE_DAYS=3",
		"REEVE_PORT=8080",
		"REEVE_CA_FILE_FILE=x",
		"REEVE_AUTH_CLIENT_SECRETFILE=",
		"REEVER_TENANT_ID=x",
		"AZURE_FROBNICATE=x",
		"REEVE_LIVE_TENANT=x",
		"=C:=C:\\",
		"",
	}})
	want := []string{
		"environment variable REEVE_AUTH_CLIENT_SECRETFILE: unknown variable; did you mean REEVE_AUTH_CLIENT_SECRET_FILE?",
		"environment variable REEVE_CA_FILE_FILE: unknown variable; did you mean REEVE_CA_FILE?",
		"environment variable REEVE_DAYS: unknown variable",
		"environment variable REEVE_PORT: unknown variable",
		"environment variable REEVE_TENNANT_ID: unknown variable; did you mean REEVE_TENANT_ID?",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// Kubernetes describes each Service to each container in variables named after
// it, and people call the Service "reeve".
func TestKubernetesVariablesAreNotOurs(t *testing.T) {
	mustLoad(t, Source{Environ: []string{
		"REEVE_SERVICE_HOST=10.0.0.1",
		"REEVE_SERVICE_PORT=8080",
		"REEVE_SERVICE_PORT_HTTP=8080",
		"REEVE_PORT=tcp://10.0.0.1:8080",
		"REEVE_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"REEVE_PORT_8080_TCP_PROTO=tcp",
		"REEVE_PORT_8080_TCP_PORT=8080",
		"REEVE_PORT_8080_TCP_ADDR=10.0.0.1",
		"REEVE_STATUS_PAGE_SERVICE_HOST=10.0.0.1",
		"REEVE_STATUS_PAGE_PORT=tcp://10.0.0.1:8080",
	}})
}

func TestEmptyVariableIsNotSet(t *testing.T) {
	c := mustLoad(t, Source{Environ: []string{"REEVE_CLOUD=", "REEVE_TENANT_ID=", "AZURE_TENANT_ID=" + tenantID, "REEVE_CONFIG="}})
	if c.Cloud != "public" || c.TenantID != tenantID {
		t.Errorf("cloud %q, tenant %q", c.Cloud, c.TenantID)
	}
}

func TestSecretFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want, problem string }{
		{"plain", "hunter2", "hunter2", ""},
		{"line end", "hunter2\n", "hunter2", ""},
		{"Windows line end", "hunter2\r\n", "hunter2", ""},
		{"two line ends", "hunter2\n\n", "hunter2\n", ""},
		{"spaces", "  hunter 2 ", "  hunter 2 ", ""},
		{"empty", "\n", "", "reading the secret: the file is empty"},
		{"too long", strings.Repeat("x", maxSecret+1), "", "reading the secret: longer than 65536 bytes: is it the right file?"},
		{"missing", "", "", "reading the secret: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if tt.name != "missing" {
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			source := Source{Environ: []string{"REEVE_AUTH_CERTIFICATE_PASSWORD_FILE=" + file}}
			if tt.problem != "" {
				got := problems(t, source)
				if len(got) != 1 || !strings.HasPrefix(got[0], "environment variable REEVE_AUTH_CERTIFICATE_PASSWORD_FILE: auth.certificate-password: ") ||
					tt.name != "missing" && !strings.HasSuffix(got[0], tt.problem) {
					t.Errorf("problems: %q", got)
				}
				return
			}
			if got := mustLoad(t, source).Auth.CertificatePassword.Reveal(); got != tt.want {
				t.Errorf("secret %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSecretAndItsFile(t *testing.T) {
	got := problems(t, Source{Environ: []string{"REEVE_AUTH_CLIENT_SECRET=hunter2", "REEVE_AUTH_CLIENT_SECRET_FILE=/nowhere"}})
	want := []string{"environment variable REEVE_AUTH_CLIENT_SECRET_FILE: auth.client-secret: given twice: unset this one or REEVE_AUTH_CLIENT_SECRET"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
