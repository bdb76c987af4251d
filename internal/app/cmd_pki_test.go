package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/app"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/pki"
)

// pkiFolder is a folder with files of all sorts that hold secrets.
type pkiFolder struct {
	path    string
	secrets []canary
}

const (
	pfxPassword   = "canary-of-the-PFX-file"
	keyPassword   = "canary-of-the-key-file"
	wrongPassword = "canary-that-is-wrong"
)

func newPKIFolder(t testing.TB) *pkiFolder {
	t.Helper()
	f := &pkiFolder{path: t.TempDir()}
	key, from, until := otherKey(), time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, 300)
	certificate := issue(t, "canary", key, from, until)
	pfx, err := pkcs12.Modern2023.Encode(key, certificate, nil, pfxPassword)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := pki.EncodeKey(key, keyPassword)
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.NewRequest(key, pki.Template{Subject: certificate.Subject})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.NewKey(pki.P256)
	if err != nil {
		t.Fatal(err)
	}
	good := mustRead(t, writePEM(t, key, certificate))
	broken := bytes.Clone(pfx)
	broken[len(broken)/2] ^= 0x55
	for name, data := range map[string][]byte{
		"good.pem": good, "good.pfx": pfx, "good.key.pem": encrypted,
		"good.cer":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}),
		"good.csr":      pki.EncodeRequest(request),
		"stranger.cer":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issue(t, "stranger", stranger, from, until).Raw}),
		"broken.pfx":    broken,
		"cut.pem":       good[:len(good)/2],
		"garbled.pem":   bytes.Replace(good, []byte("MII"), []byte("MAA"), 1),
		"pfx.password":  []byte(pfxPassword + "\n"),
		"key.password":  []byte(keyPassword),
		"wrong":         []byte(wrongPassword + "\r\n"),
		"several.lines": []byte(pfxPassword + "\n" + keyPassword + "\n"),
		"long":          bytes.Repeat([]byte(pfxPassword), 1000),
	} {
		if err := os.WriteFile(filepath.Join(f.path, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.secrets = canaries(t, filepath.Join(f.path, "good.pem"),
		canary{"the password of the PFX file", pfxPassword}, canary{"the password of the key", keyPassword}, canary{"the wrong password", wrongPassword})
	return f
}

// files gives every file below the folder, by its path.
func (f *pkiFolder) files(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(f.path, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(f.path, path)
			all[filepath.ToSlash(name)] = string(mustRead(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// run runs a command in the folder, as a process of its own.
func (f *pkiFolder) run(t testing.TB, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "reeve", append([]string{"pki"}, args...)...)
	cmd.Dir, cmd.Env = f.path, []string{endAtOnce, "PFX=" + pfxPassword, "KEY=" + keyPassword, "WRONG=" + wrongPassword}
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return outcome{cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), err.String()}
}

// Whatever reeve pki does, and however it fails, no private key and no password is
// in what it prints, nor in a file that was not asked for.
func TestPKIKeepsSecrets(t *testing.T) {
	t.Parallel()
	template := newPKIFolder(t)
	for _, tt := range []struct {
		name    string
		stdin   string
		code    int
		command string
		asked   string // files that are asked for, with the secret
	}{
		{"show PEM", "", ok, "show good.pem good.cer good.csr", ""},
		{"show PEM as JSON", "", ok, "show good.pem good.cer --json", ""},
		{"show PFX", "", ok, "show good.pfx --password-file pfx.password", ""},
		{"show PFX as JSON", "", ok, "show good.pfx --password-env PFX --json", ""},
		{"show encrypted key", "", ok, "show good.key.pem --password-file -", ""},
		{"show from standard input", "PEM", ok, "show - --json", ""},
		{"show without password", "", failure, "show good.pfx", ""},
		{"show with a wrong password", "", failure, "show good.pfx --password-file wrong", ""},
		{"show several with a wrong password", "", failure, "show good.pfx good.pem good.key.pem --password-env WRONG --json", ""},
		{"show broken PFX", "", failure, "show broken.pfx --password-env PFX", ""},
		{"show cut PEM", "", failure, "show cut.pem", ""},
		{"show garbled PEM", "", failure, "show garbled.pem", ""},
		{"a password in place of a file", "", failure, "show pfx.password", ""},
		{"a key in place of a password", "", usage, "show good.pfx --password-file good.pem", ""},
		{"several lines in place of a password", "", usage, "show good.pfx --password-file several.lines", ""},
		{"a long text in place of a password", "", usage, "show good.pfx --password-file long", ""},
		{"a password in place of a variable", "", usage, "show good.pfx --password-env NONE", ""},
		{"check", "", ok, "check good.pem", ""},
		{"check PFX as JSON", "", check, "check good.pfx --password-env PFX --for all --json", ""},
		{"check with a wrong password", "", failure, "check good.pfx --password-env WRONG --json", ""},
		{"PFX to PEM", "", ok, "convert good.pfx --password-env PFX --to pem --out new.pem", "new.pem"},
		{"PFX to PEM as JSON", "", ok, "convert good.pfx --password-env PFX --to pem --out new.pem --json", "new.pem"},
		{"PFX to encrypted PEM", "", ok, "convert good.pfx --password-env PFX --to pem --out new.pem --out-password-env KEY", ""},
		{"PFX to PFX", "", ok, "convert good.pfx --password-env PFX --to pfx --out new.pfx --out-password-file key.password --profile compat", ""},
		{"PFX to CER", "", ok, "convert good.pfx --password-env PFX --to cer --out -", ""},
		{"PFX to Graph", "", ok, "convert good.pfx --password-env PFX --to graph-key --out -", ""},
		{"PEM to chain", "", ok, "convert good.pem --to chain --out new.pem --json", ""},
		{"the key on standard output", "", ok, "convert good.key.pem --password-env KEY --to key --out -", "stdout"},
		{"PEM to DER", "", ok, "convert good.pem --to der --out -", ""},
		{"key and certificate put together", "", ok, "convert good.key.pem good.cer --password-env KEY --to pfx --out new.pfx --out-password-env PFX --json", ""},
		{"of strangers", "", failure, "convert good.key.pem stranger.cer --password-env KEY --to pem --out new.pem", ""},
		{"to a place that is taken", "", usage, "convert good.pfx --password-env PFX --to pem --out good.cer", ""},
		{"to no place", "", failure, "convert good.pfx --password-env PFX --to pem --out good.cer/new.pem", ""},
		{"to PFX by a wrong password", "", failure, "convert good.pfx --password-env WRONG --to pem --out new.pem", ""},
		{"a password too many", "", usage, "convert good.pfx --password-env PFX --password-file wrong --to pem --out new.pem", ""},
		{"a request for a key", "", ok, "csr --key-file good.pem --name new", ""},
		{"a request for an encrypted key", "", ok, "csr --key-file good.key.pem --password-env KEY --name new --json", ""},
		{"a request by a wrong password", "", failure, "csr --key-file good.key.pem --password-env WRONG --name new", ""},
		{"a new encrypted key", "", ok, "csr --password-env KEY --key p-256 --name new", ""},
		{"a new certificate", "", ok, "new --password-env PFX --key p-256 --format pfx,cer --name new", ""},
		{"a new certificate as JSON", "", ok, "new --password-file pfx.password --encrypt-key --key p-256 --format pfx,pem --name new --json", ""},
		{"no authority", "", failure, "issue --ca good.pem --csr good.csr", ""},
		{"no authority, wrong password", "", failure, "issue --ca good.pfx --password-env WRONG --csr good.csr", ""},
		{"a key in place of a request", "", failure, "issue --ca good.pem --csr good.pem", ""},
		{"one place for a key and its password", "", failure, "new --name new --key p-256 --format pem --encrypt-key --password-out ./new.pem --force", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &pkiFolder{t.TempDir(), template.secrets}
			if err := os.CopyFS(f.path, os.DirFS(template.path)); err != nil {
				t.Fatal(err)
			}
			before := f.files(t)
			stdin := keyPassword
			if tt.stdin == "PEM" {
				stdin = before["good.pem"]
			}
			o := f.run(t, stdin, strings.Fields(tt.command)...)
			o.want(t, tt.code)
			after := f.files(t)
			if tt.asked == "stdout" {
				after["stdout"] = o.out
			} else {
				mustHide(t, "standard output", o.out, f.secrets)
			}
			mustHide(t, "standard error", o.err, f.secrets)
			for name, text := range after {
				switch old, was := before[name]; {
				case was && text != old:
					t.Errorf("%s was changed", name)
				case was:
				case name == tt.asked:
					if !strings.Contains(text, template.secrets[3].text) {
						t.Errorf("%s lacks %s", name, template.secrets[3].name)
					}
				default:
					mustHide(t, name, text, f.secrets)
				}
			}
			if tt.code != ok && tt.code != check && len(after) != len(before) {
				t.Errorf("there are %d files, and were %d", len(after), len(before))
			}
			if tt.code != ok && !strings.Contains(o.out+o.err, "remedy: ") && !strings.Contains(o.out, `"remedy": "`) && tt.code != usage {
				t.Errorf("no remedy is given:\n%s%s", o.out, o.err)
			}
		})
	}
}

// The private key and the password of a new certificate are where they were asked
// for, once, and nowhere else.
func TestPKINewKeepsSecrets(t *testing.T) {
	t.Parallel()
	shown := regexp.MustCompile(`The password of new\.pfx, shown this once: (\S+)\n`)
	for _, args := range []string{"new --name new", "new --name new --json", "new --name new --password-out password --json", "new --name new --password-out password"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			f := &pkiFolder{path: t.TempDir()}
			o := f.run(t, "", strings.Fields(args)...)
			o.want(t, ok)
			files := f.files(t)
			password, said := "", o.err
			if found := shown.FindStringSubmatch(o.err); found != nil {
				password, said = found[1], strings.Replace(o.err, found[0], "", 1)
			} else {
				password = strings.TrimSpace(files["password"])
				delete(files, "password")
			}
			if len(password) < 20 {
				t.Fatalf("the password is %q", password)
			}
			if _, _, _, err := pkcs12.DecodeChain([]byte(files["new.pfx"]), password); err != nil {
				t.Errorf("the password does not open the file: %v", err)
			}
			secrets := canaries(t, filepath.Join(f.path, "new.pem"), canary{"the password", password})
			delete(files, "new.pem")
			mustHide(t, "standard output", o.out, secrets)
			mustHide(t, "standard error", said, secrets)
			for name, text := range files {
				mustHide(t, name, text, secrets)
			}
			if len(files) != 2 {
				t.Errorf("there are %d other files, want new.pfx and new.cer", len(files))
			}
			if runtime.GOOS == "windows" {
				return
			}
			for _, name := range []string{"new.pem", "new.pfx"} {
				if info, err := os.Stat(filepath.Join(f.path, name)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}

// What show says in JSON is what there is to know, and agrees with crypto/x509.
func TestPKIShowJSON(t *testing.T) {
	t.Parallel()
	f := newPKIFolder(t)
	o := f.run(t, "", "show", "good.pfx", "--password-env", "PFX", "--json")
	var got struct {
		Files []struct {
			Format     string
			Protection struct {
				Profile string
				Keys    []struct {
					Cipher string
					Rounds int
				}
			}
			Certificates []struct {
				Subject    string
				SHA1       string
				NotAfter   time.Time `json:"not_after"`
				PrivateKey bool      `json:"private_key"`
			}
			Keys      []struct{ Key, Certificate string }
			Consumers []struct {
				Consumer string
				Takes    bool
			}
		}
	}
	o.decode(t, &got)
	block, _ := pem.Decode(mustRead(t, filepath.Join(f.path, "good.cer")))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 1 || len(got.Files[0].Certificates) != 1 || len(got.Files[0].Keys) != 1 {
		t.Fatalf("got %s", o.out)
	}
	file := got.Files[0]
	first := file.Certificates[0]
	if file.Format != "PKCS#12" || file.Protection.Profile != "modern" || len(file.Protection.Keys) != 1 || file.Protection.Keys[0].Cipher != "AES-256-CBC" || file.Protection.Keys[0].Rounds != 2048 {
		t.Errorf("the format is %q, the protection %+v", file.Format, file.Protection)
	}
	if first.Subject != "CN=canary" || first.SHA1 != pki.SHA1(c) || !first.NotAfter.Equal(c.NotAfter) || !first.PrivateKey {
		t.Errorf("the certificate is %+v", first)
	}
	if file.Keys[0].Key != "RSA key (2048 bits)" || file.Keys[0].Certificate != first.SHA1 {
		t.Errorf("the key is %+v", file.Keys[0])
	}
	takes := map[string]bool{}
	for _, c := range file.Consumers {
		takes[c.Consumer] = c.Takes
	}
	if d := cmp.Diff(map[string]bool{"entra": true, "keyvault": true, "appservice": false}, takes); d != "" {
		t.Errorf("who takes it (-want +got):\n%s", d)
	}
}

// What older OpenSSL and Windows wrote is read, and called what it is.
func TestPKIShowObsolete(t *testing.T) {
	t.Parallel()
	key := otherKey()
	pfx, err := pkcs12.LegacyRC2.Encode(key, issue(t, "old", key, time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)), nil, pfxPassword)
	if err != nil {
		t.Fatal(err)
	}
	f := &pkiFolder{path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(f.path, "old.pfx"), pfx, 0o600); err != nil {
		t.Fatal(err)
	}
	o := f.run(t, "", "show", "old.pfx", "--password-env", "PFX")
	o.want(t, ok)
	for _, want := range []string{"protection     obsolete\n", "certificates: RC2-40-CBC, ", "reeve pki convert"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("%q is not in\n%s", want, o.out)
		}
	}
	f.run(t, "", "convert", "old.pfx", "--password-env", "PFX", "--to", "pfx", "--out", "new.pfx", "--out-password-env", "KEY").want(t, ok)
	if o := f.run(t, "", "show", "new.pfx", "--password-env", "KEY"); !strings.Contains(o.out, "protection     modern\n") {
		t.Errorf("converted, it is\n%s", o.out)
	}
}

// What strangers wrote into a file costs little time, and does not steer the terminal.
func TestPKIShowHostile(t *testing.T) {
	t.Parallel()
	f := &pkiFolder{path: t.TempDir()}
	key := otherKey()
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("a\x1b[2J\n  Entra ID       takes it")}})
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "left\u202eright"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 2, 0),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	// A request for an RSA key that fills the file, and a signature as long.
	large := new(big.Int).SetBit(big.NewInt(1), 1<<20-1, 1)
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: large, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	type signed struct {
		Content   any
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	request, err := asn1.Marshal(signed{
		Content: struct {
			Version    int
			Subject    pkix.RDNSequence
			Key        asn1.RawValue
			Attributes []asn1.RawValue `asn1:"tag:0,set"`
		}{0, pkix.Name{CommonName: "large"}.ToRDNSequence(), asn1.RawValue{FullBytes: public}, nil},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		Signature: asn1.BitString{Bytes: append(make([]byte, 1<<17-1), 1), BitLength: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"hostile.cer": der, "large.csr": request} {
		if err := os.WriteFile(filepath.Join(f.path, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	f.run(t, "", "show", "large.csr").want(t, failure, "up to 8192 bits are read")
	o := f.run(t, "", "show", "hostile.cer")
	o.want(t, ok)
	if !strings.Contains(o.out, `left\E2\80\AEright`) || strings.ContainsAny(o.out, "\x1b\u202e") || strings.Count(o.out, "\n  Entra ID ") != 1 {
		t.Errorf("it shows %q", o.out)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if o := f.run(t, "", "check", "hostile.cer"); !strings.Contains(o.out, `left\E2\80\AEright`) {
		t.Errorf("check says %s", o.out)
	}
}

// Reeve ends when it is interrupted, also while it waits for what never comes.
func TestPKIInterrupted(t *testing.T) {
	t.Parallel()
	never, silent := io.Pipe()
	t.Cleanup(func() { silent.Close() })
	for _, args := range []string{"show -", "check - --json", "convert - --to cer --out -", "issue --ca - --csr x", "csr --key-file -", "new --password-file -"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			ended := make(chan int, 1)
			go func() {
				ended <- app.Main(ctx, append([]string{"pki"}, strings.Fields(args)...), nil, app.Streams{In: never, Out: io.Discard, Err: io.Discard})
			}()
			select {
			case code := <-ended:
				if code != failure {
					t.Errorf("it ends with %d", code)
				}
			case <-time.After(deadline):
				t.Fatal("it goes on")
			}
		})
	}
}

// Of two authorities of one name, the one that signed is the issuer.
func TestPKIConvertFindsTheIssuer(t *testing.T) {
	t.Parallel()
	f := newPKIFolder(t)
	request, err := pki.Read(mustRead(t, filepath.Join(f.path, "good.csr")), "")
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	var authority pki.Pair
	for range 2 {
		key, err := pki.NewKey(pki.P256)
		if err != nil {
			t.Fatal(err)
		}
		authority, err = pki.SelfSign(key, pki.Template{Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0), Authority: true})
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pki.EncodeCertificates(authority.Certificate)...)
	}
	leaf, err := pki.Issue(authority, request.Requests[0], authority.Certificate.NotBefore, authority.Certificate.NotAfter)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.path, "all.pem"), append(text, pki.EncodeCertificates(leaf)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--thumbprint", pki.SHA1(leaf)}} {
		o := f.run(t, "", append([]string{"convert", "all.pem", "--to", "chain", "--out", "-"}, more...)...)
		if want := string(pki.EncodeCertificates(leaf, authority.Certificate)); o.code != ok || o.out != want {
			t.Errorf("%v: the chain is %s%s", more, o.out, o.err)
		}
	}
	f.run(t, "", "convert", "good.key.pem", "stranger.cer", "--password-env", "KEY", "--to", "chain", "--out", "-").want(t, failure, "belongs to none of the certificates")
}

// A new certificate signs in to the emulated tenant: uploaded as the key credential
// that convert writes, used as the PEM file that new writes.
func TestPKICertificateSignsIn(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	f := &pkiFolder{path: t.TempDir()}
	f.run(t, "", "new", "--password-out", "password").want(t, ok)
	use := e.client(t, "REEVE_AUTH_CERTIFICATE="+filepath.Join(f.path, "reeve.pem"))
	reeve(t, use, "token", "--claims").want(t, signIn, "AADSTS700027")

	o := f.run(t, "", "convert", "reeve.pfx", "--password-file", "password", "--to", "graph-key", "--out", "-")
	var credential struct {
		Key                        []byte
		StartDateTime, EndDateTime time.Time
	}
	o.decode(t, &credential)
	if _, err := e.Directory.AddKeyCredential(e.Client().ClientID, credential.Key, credential.StartDateTime, credential.EndDateTime); err != nil {
		t.Fatal(err)
	}
	reeve(t, use, "token", "--claims").want(t, ok)
	use = append(use, "REEVE_AUTH_CERTIFICATE="+filepath.Join(f.path, "reeve.pfx"), "REEVE_AUTH_CERTIFICATE_PASSWORD="+strings.TrimSpace(string(mustRead(t, filepath.Join(f.path, "password")))))
	reeve(t, use, "token", "--claims").want(t, ok)
}

// The commands in docs/pki.md work as they stand there, one after the other.
func TestPKIDocument(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	page := string(mustRead(t, filepath.Join("..", "..", "docs", "pki.md")))
	// A comment before a program says which request an authority answers before it.
	programs := regexp.MustCompile("(?s)(?:<!-- answer: (\\S+) (\\S+) -->\n)?```sh\n(.*?)```\n").FindAllStringSubmatch(page, -1)
	if fences := strings.Count(page, "```"); len(programs) < 6 || len(programs)*2 != fences {
		t.Fatalf("%d programs are understood, and there are %d fences", len(programs), fences)
	}
	folder := t.TempDir()
	for _, p := range programs {
		if p[1] != "" {
			answer(t, filepath.Join(folder, filepath.FromSlash(p[1])), filepath.Join(folder, p[2]))
		}
		cmd := exec.CommandContext(t.Context(), sh, "-eu", "-c", p[3])
		cmd.Dir, cmd.Env = folder, []string{endAtOnce, "PATH=" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s%s", err, p[3], out)
		}
	}
	for _, name := range pathsIn(page) {
		if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			t.Errorf("the page names %s: %v", name, err)
		}
	}
}

// pathsIn are the files with a folder that a page names in its text.
func pathsIn(page string) []string {
	return regexp.MustCompile(`\b(?:certificates|request|authority)/[\w.-]+\w`).FindAllString(page, -1)
}

// answer is what an authority does with a request: a chain, without reeve.
func answer(t *testing.T, request, file string) {
	t.Helper()
	block, _ := pem.Decode(mustRead(t, request))
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: now, NotAfter: now.AddDate(2, 0, 0),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: r.Subject, NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}
	var text []byte
	for _, c := range []struct {
		certificate *x509.Certificate
		key         any
	}{{authority, otherKey().Public()}, {leaf, r.PublicKey}} {
		der, err := x509.CreateCertificate(rand.Reader, c.certificate, authority, c.key, otherKey())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A password that cannot be shown is lost, so that the files are of no use.
func TestPKIPasswordThatCannotBeShown(t *testing.T) {
	t.Parallel()
	code := app.Main(t.Context(), []string{"pki", "new", "--key", "p-256", "--out", t.TempDir()}, nil, app.Streams{In: strings.NewReader(""), Out: io.Discard, Err: full{}})
	if code != failure {
		t.Errorf("it ends with %d", code)
	}
}

// full is a terminal or a file that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// A file with the certificates of several keys is judged by the one that is meant,
// and what speaks against one file is not hidden by another that cannot be read.
func TestPKICheckChooses(t *testing.T) {
	t.Parallel()
	f := newPKIFolder(t)
	var both []byte
	var pairs []pki.Pair
	for _, life := range []time.Duration{24 * time.Hour, 90 * 24 * time.Hour} {
		key, err := pki.NewKey(pki.RSA2048)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := pki.SelfSign(key, pki.Template{Subject: pkix.Name{CommonName: "one of two"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)})
		if err != nil {
			t.Fatal(err)
		}
		text, err := pki.EncodeKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		both = slices.Concat(both, text, pki.EncodeCertificates(pair.Certificate))
		pairs = append(pairs, pair)
	}
	if err := os.WriteFile(filepath.Join(f.path, "two.pem"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	const checkFailed = 7
	f.run(t, "", "check", "two.pem").want(t, failure, "several private keys", "thumbprint")
	f.run(t, "", "check", "two.pem", "--thumbprint", pki.SHA1(pairs[0].Certificate)).want(t, checkFailed)
	f.run(t, "", "check", "two.pem", "--thumbprint", pki.SHA1(pairs[1].Certificate)).want(t, ok)
	if err := os.WriteFile(filepath.Join(f.path, "soon.cer"), pki.EncodeCertificates(pairs[0].Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run(t, "", "check", "soon.cer", "missing.cer").want(t, checkFailed)
}
