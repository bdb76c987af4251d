package handout

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

const (
	aTenant = "2f7d5a1e-0b64-4f7a-9d0f-6c1f9a3b7e21"
	aReader = "9a0e6c57-52a1-4a3c-8a5b-0f4a4b8f2d10"
	// What a name may be, and what it must not do to a script.
	nasty = "O'Brien \"x\" $(rm -rf .) ${y} %{z} `id` \\ ‘q’ ‚q‛ <b>&| #> ''' @$_ -- é"
)

var ownKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newPair(t testing.TB) pki.Pair {
	t.Helper()
	now := time.Now().UTC()
	p, err := pki.SelfSign(ownKey(), pki.Template{Subject: pkix.Name{CommonName: "reeve"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 18, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func feeds(t testing.TB, names ...string) []permission.Feed {
	t.Helper()
	var all []permission.Feed
	for _, name := range names {
		f, err := permission.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// order is one for everything that can be ordered.
func order(t testing.TB) Order {
	return Order{
		Cloud: "public", Authority: "https://login.microsoftonline.com", Graph: "https://graph.microsoft.com", TenantID: aTenant,
		Name: nasty, UniqueName: "reeve-0123456789abcdef", Feeds: permission.Feeds(), Optional: true,
		Certificate: newPair(t).Certificate, Role: &Roles()[0],
		Vault: &Vault{Name: "contoso", URL: "https://contoso.vault.azure.net", Certificate: "reeve", Reader: aReader},
	}
}

func mustScript(t testing.TB, o Order, f Format) string {
	t.Helper()
	text, err := Script(o, f)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return string(text)
}

// Each format has all that was ordered: steps of which one is forgotten are found out by
// the customer's administrator.
func TestScriptsAreWhole(t *testing.T) {
	o := order(t)
	for _, f := range Formats() {
		text := mustScript(t, o, f)
		want := []string{aTenant, strings.TrimSpace(string(pki.EncodeCertificates(o.Certificate)))[28:90], pki.SHA1(o.Certificate), o.Role.Name, "reeve app discover", "Log Analytics Reader"}
		for _, u := range permission.Uses(o.Feeds, true) {
			want = append(want, u.Name)
			if f != Portal {
				want = append(want, u.ID, u.API.AppID)
			}
		}
		if f != Portal && f != Terraform {
			want = append(want, o.UniqueName)
		}
		if f == Portal || f == AzureCLI {
			want = append(want, "Key Vault Certificate User", "every secret", aReader, "@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/reeve)")
		}
		if f == Portal {
			want = append(want, "Logic App", "Secure outputs", "Identity > System assigned", "Key Vault Certificates Officer")
		}
		if f == PowerShell || f == HTTP {
			want = append(want, "leave that box empty")
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: lacks %q", f, w)
			}
		}
		if f == AzureCLI && !strings.Contains(text, "identity "+aReader) {
			t.Errorf("%s: its head does not say who is let into the key vault", f)
		}
		if strings.Contains(text, "SecretUri=https://contoso.vault.azure.net/certificates") {
			t.Errorf("%s: a reference to the certificate instead of the secret", f)
		}

		without := o
		without.Certificate, without.Role, without.Vault, without.Feeds = nil, nil, nil, feeds(t, "audit")
		text = mustScript(t, without, f)
		for _, w := range []string{"BEGIN CERTIFICATE", "Global Reader", "User.Read.All", "Log Analytics", "contoso", "<no value>"} {
			if strings.Contains(text, w) {
				t.Errorf("%s: has %q, which was not ordered", f, w)
			}
		}
		if !strings.Contains(text, "ertificates & secrets") {
			t.Errorf("%s: does not say where to upload a certificate", f)
		}
	}
}

// What opens a door does not stand among the arguments of a program, where others on the
// machine read it.
func TestCodesAreNotArguments(t *testing.T) {
	text := mustScript(t, order(t), HTTP)
	if strings.Contains(text, "device_code=$") || !strings.Contains(text, "device_code@-") {
		t.Error("the device code, for which anybody gets the token, is an argument of curl")
	}
}

// What a tool does not know is said, not tried.
func TestScriptsOfClouds(t *testing.T) {
	for cloud, unknown := range map[string]string{
		"gcc": "", "gcc-high": "", "china": "", "dod": "azure-cli bicep", "custom": "powershell azure-cli m365-cli bicep terraform",
	} {
		o := order(t)
		o.Cloud = cloud
		for _, f := range Formats() {
			_, err := Script(o, f)
			if refused := strings.Contains(" "+unknown+" ", " "+string(f)+" "); (err != nil) != refused {
				t.Errorf("%s, %s: %v", cloud, f, err)
			}
		}
	}
	o := order(t)
	o.Cloud = "gcc-high"
	for f, want := range map[Format]string{PowerShell: "-Environment USGov ", AzureCLI: "az cloud set --name AzureUSGovernment", M365CLI: "--cloud USGovHigh", Terraform: `"usgovernmentl4"`, Portal: "https://entra.microsoft.us"} {
		if !strings.Contains(mustScript(t, o, f), want) {
			t.Errorf("%s: lacks %q", f, want)
		}
	}
}

// What would be read as something else is refused, with a reason.
func TestRefusesOrders(t *testing.T) {
	for name, change := range map[string]func(*Order){
		"no name":              func(o *Order) { o.Name = " " },
		"long name":            func(o *Order) { o.Name = strings.Repeat("é", maxName+1) },
		"two lines":            func(o *Order) { o.Name = "a\nrm -rf /" },
		"carriage return":      func(o *Order) { o.Name = "a\rb" },
		"backwards":            func(o *Order) { o.Name = "a\u202eb" },
		"unseen":               func(o *Order) { o.Name = "a\u200bb" },
		"line separator":       func(o *Order) { o.Name = "a\u2028b" },
		"broken text":          func(o *Order) { o.Name = "a\xff" },
		"tenant":               func(o *Order) { o.TenantID = "contoso'; rm" },
		"authority":            func(o *Order) { o.Authority = "https://login.example/$(id)" },
		"graph":                func(o *Order) { o.Graph = "http://graph.example" },
		"unique name":          func(o *Order) { o.UniqueName = "a'b" },
		"role":                 func(o *Order) { o.Role = &Role{"Global Administrator", "62e90394-69f5-4237-9190-012177145e10"} },
		"vault":                func(o *Order) { o.Vault.Name = "a b" },
		"vault's certificate":  func(o *Order) { o.Vault.Certificate = "" },
		"vault's address":      func(o *Order) { o.Vault.URL = "https://a b" },
		"reader of the vault":  func(o *Order) { o.Vault.Reader = "me" },
		"certificate's dates":  func(o *Order) { c := *o.Certificate; c.NotAfter = c.NotBefore.Add(-1); o.Certificate = &c },
		"tenant with new line": func(o *Order) { o.TenantID = aTenant + "\n" },
	} {
		o := order(t)
		change(&o)
		for _, f := range Formats() {
			if text, err := Script(o, f); err == nil || text != nil {
				t.Errorf("%s, %s: %v", name, f, err)
			}
		}
	}
	if _, err := Script(order(t), "cobol"); err == nil {
		t.Error("an unknown format is taken")
	}
}

// A PFX goes in; of its private key nothing comes out.
func TestNothingPrivateGetsIn(t *testing.T) {
	pair := newPair(t)
	o := order(t)
	o.Certificate = pair.Certificate
	key := pair.Key.(*rsa.PrivateKey)
	secret := [][]byte{[]byte("PRIVATE KEY"), key.D.Bytes()}
	for _, part := range [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()} {
		// Whatever the alignment within a longer base64.
		for cut := range 3 {
			secret = append(secret, []byte(base64Std(part[cut:])[:40]))
		}
	}
	check := func(what string, text []byte) {
		t.Helper()
		for _, s := range secret {
			if bytes.Contains(text, s) {
				t.Errorf("%s: holds a part of the private key", what)
			}
		}
	}
	for _, f := range Formats() {
		check(string(f), []byte(mustScript(t, o, f)))
	}
	if len(Formats()) != len(proof)+1 { // nobody runs a page of the portal
		t.Error("a format does not say whether it was ever run")
	}
}
