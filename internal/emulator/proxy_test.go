package emulator_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func withProxy(o *emulator.Options) { o.Proxy = "127.0.0.1:0" }

// throughProxy returns a client that knows the proxy and the authority, and
// nothing else of the emulator.
func throughProxy(t *testing.T, w *emulatortest.World) *http.Client {
	t.Helper()
	at, err := url.Parse(w.Proxy())
	if err != nil || at.Host == "" {
		t.Fatalf("the proxy is at %q, %v", w.Proxy(), err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.CA())
	transport := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// An unmodified client of the public cloud: every host is the one that is built
// into the SDK, and it checks what the vault's challenge names.
func TestPublicCloudThroughTheProxy(t *testing.T) {
	w := emulatortest.Start(t, nil, withProxy)
	options := azcore.ClientOptions{Transport: throughProxy(t, w), Retry: policy.RetryOptions{MaxRetries: -1}}
	client := w.Tenant.Client()
	credential, err := azidentity.NewClientCertificateCredential(w.Tenant.ID, client.ClientID,
		[]*x509.Certificate{client.Certificate}, client.Key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	vault, err := azcertificates.NewClient("https://"+w.Tenant.Vault.Name+".vault.azure.net", credential,
		&azcertificates.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	c, err := vault.GetCertificate(t.Context(), tenant.CertificateName, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(c.CER) != string(client.Certificate.Raw) || c.ID == nil || !strings.HasPrefix(string(*c.ID), "https://"+w.Tenant.Vault.Name+".vault.azure.net/") {
		t.Errorf("the certificate is %v", c.ID)
	}
}

func TestEveryHostOfTheCloudsIsThere(t *testing.T) {
	for _, cloud := range origin.Clouds {
		w := emulatortest.Start(t, nil, withProxy, func(o *emulator.Options) { o.Cloud = cloud.Cloud })
		client := throughProxy(t, w)
		names := cloud.ForVault(w.Tenant.Vault.Name)
		for _, hosts := range [][]string{names.Authority, names.Graph, names.Vault, names.Manage, names.Logs} {
			for _, host := range hosts {
				resp, err := client.Get("https://" + host + "/nothing/that/is/known")
				if err != nil {
					t.Errorf("%s: %v", cloud.Cloud, err)
					continue
				}
				resp.Body.Close()
				if resp.StatusCode/100 == 2 {
					t.Errorf("%s: %s answers %d", cloud.Cloud, host, resp.StatusCode)
				}
			}
		}
		if a, err := client.Get(w.Origins().Authority + "/" + w.Tenant.ID + "/discovery/keys"); err != nil {
			t.Errorf("%s: its own address through the proxy: %v", cloud.Cloud, err)
		} else if a.Body.Close(); a.StatusCode != 200 {
			t.Errorf("%s: its own address through the proxy: %d", cloud.Cloud, a.StatusCode)
		}
	}
}

func TestProxyRefusesTheRest(t *testing.T) {
	w := emulatortest.Start(t, nil, withProxy)
	address := strings.TrimPrefix(w.Proxy(), "http://")
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, request := range []string{
		"CONNECT example.com:443", "CONNECT graph.microsoft.us:443", "CONNECT graph.microsoft.com:80", "CONNECT graph.microsoft.com.:443",
		"CONNECT another.vault.azure.net:443", "CONNECT " + other.Addr().String(), "CONNECT 169.254.169.254:80", "CONNECT graph.microsoft.com",
		"GET http://graph.microsoft.com/", "GET " + w.Origins().Identity + emulator.IdentityPath, "GET /",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, target, _ := strings.Cut(request, " ")
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: test/1\r\n\r\n", request, strings.TrimPrefix(target, "/"))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", request, err)
		} else if resp.Body.Close(); resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", request, resp.StatusCode)
		}
		conn.Close()
	}
	want := emulator.Call{API: "proxy", Request: "CONNECT example.com:443", Status: "4xx", Client: "test/1", Count: 1}
	var refused []emulator.Call
	found := false
	for _, c := range w.Calls() {
		if c.API == "proxy" {
			refused = append(refused, c)
			found = found || cmp.Equal(c, want)
		}
	}
	if !found || len(refused) < 9 {
		t.Errorf("refused hosts are counted as %+v", refused)
	}
}

func FuzzProxyTarget(f *testing.F) {
	names, _ := origin.LookupCloud("public")
	hosts := &origin.Hosts{
		Names: names.ForVault("contoso-vault"),
		Origins: origin.Origins{
			Authority: "https://127.0.0.1:1", Graph: "https://127.0.0.1:2", Vault: "https://127.0.0.1:3", Manage: "https://127.0.0.1:4",
			Logs: "https://[::1]:5", Identity: "http://127.0.0.1:6", Control: "http://127.0.0.1:7",
		},
	}
	for _, s := range []string{"graph.microsoft.com:443", "127.0.0.1:2", "localhost:7", "[::1]:5", "example.com:443", "", ":", "[::1", "127.0.0.1:02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		address, ok := emulator.ProxyTarget(hosts, s)
		host, _, err := net.SplitHostPort(address)
		if ok && (err != nil || host != "127.0.0.1" && host != "::1") || !ok && address != "" {
			t.Errorf("%q leads to %q, %v", s, address, ok)
		}
	})
}

// tunnel opens a tunnel by hand, so that the test sees how it ends.
func tunnel(t *testing.T, proxy, target string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	const established = "HTTP/1.1 200 Connection Established\r\n\r\n"
	b := make([]byte, len(established))
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != established {
		t.Fatalf("%q, %v", b, err)
	}
	return conn.(*net.TCPConn)
}

func TestTunnelsAreHalfClosed(t *testing.T) {
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	go func() {
		conn, err := api.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, err := io.ReadAll(conn) // until the client has nothing more to say
		fmt.Fprintf(conn, "answer to %s, %v", question, err)
	}()
	hosts := &origin.Hosts{Origins: origin.Origins{Logs: "https://" + api.Addr().String()}}
	server := httptest.NewServer(emulator.NewProxy(hosts))
	defer server.Close()
	conn := tunnel(t, server.URL, api.Addr().String())
	fmt.Fprint(conn, "question")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || string(b) != "answer to question, <nil>" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTunnelsEndAsTheirEndsDo(t *testing.T) {
	w := emulatortest.Start(t, nil, withProxy)
	identity := strings.TrimPrefix(w.Origins().Identity, "http://")

	// A reset of the API is a reset for the client.
	w.Inject(emulator.Fault{API: "identity", Kind: emulator.Reset, Times: 1})
	conn := tunnel(t, w.Proxy(), identity)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", emulator.IdentityPath, identity)
	if b, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %.40q, %v", b, err)
	}

	// Close ends a tunnel in which nothing happens.
	conn = tunnel(t, w.Proxy(), identity)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel is open after Close")
	}
}
