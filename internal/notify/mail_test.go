package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// python is Debian's own, which alone sees Debian's packages.
const python = "/usr/bin/python3"

const smtpPassword = "Canary+smtp/password="

// A mailServer is aiosmtpd, run by the test.
type mailServer struct {
	port  int
	ca    []byte
	lines *bufio.Scanner
}

// taken is a mail that the server has taken over.
type taken struct {
	From    string
	To      []string
	TLS     bool
	User    string
	Content []byte
}

func startMailServer(t *testing.T, mode TLS, password string) *mailServer {
	t.Helper()
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		t.Skip("python3-aiosmtpd is not installed; ./test installs it")
	}
	cert, key := makePair(t, "localhost")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, data := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(python, "-B", filepath.Join("testdata", "smtpd.py"), string(mode), certFile, keyFile)
	c.Env = append(os.Environ(), "SMTPD_PASSWORD="+password)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		c.Wait()
		if t.Failed() {
			t.Logf("the mail server said: %s", complaints.String())
		}
	})
	s := &mailServer{ca: cert, lines: bufio.NewScanner(stdout)}
	s.lines.Buffer(nil, 1<<20)
	if !s.lines.Scan() {
		t.Fatalf("the mail server did not start: %s", complaints.String())
	}
	if _, err := fmt.Sscan(s.lines.Text(), &s.port); err != nil {
		t.Fatal(err)
	}
	return s
}

// next is the mail that the server took over after the last one.
func (s *mailServer) next(t *testing.T) (taken, *mail.Message) {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatal("the mail server has taken nothing over")
	}
	var m taken
	if err := json.Unmarshal(s.lines.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	msg, err := mail.ReadMessage(bytes.NewReader(m.Content))
	if err != nil {
		t.Fatal(err)
	}
	return m, msg
}

func (s *mailServer) options(mode TLS, to ...string) MailOptions {
	return MailOptions{Host: "localhost", Port: s.port, From: "reeve <reeve@contoso.example>", To: to,
		SubjectPrefix: "[reeve]", TLS: mode, CA: s.ca}
}

// makePair makes a certificate for the tests, and its key, in PEM.
func makePair(t testing.TB, host string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func derOf(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func newMail(t *testing.T, o MailOptions) []Target {
	t.Helper()
	targets, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// A part of a mail, decoded.
type part struct {
	kind, name string
	data       []byte
}

// parts flattens the parts of a mail, in their order.
func parts(t *testing.T, contentType, encoding, disposition string, body io.Reader) []part {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("%q: %v", contentType, err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		var all []part
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if err == io.EOF {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parts(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.Header.Get("Content-Disposition"), p)...)
		}
	}
	switch encoding {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	_, file, _ := mime.ParseMediaType(disposition)
	return []part{{kind, file["filename"], data}}
}

func renewed(t testing.TB) Event {
	cert, _ := makePair(t, "reeve")
	return Event{
		ID: "certificate-renewed/6f1c/0a1b2c", At: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC),
		Kind: "certificate-renewed", Severity: Warning,
		Subject: "The certificate of Überwachung was renewed",
		Text:    "A new certificate is active.\n.\nThe old one <drains> & goes.",
		Remedy:  "Deploy the certificate to programs that do not read the vault.",
		Fields:  []Field{{"application", "Überwachung"}, {"client-id", "11111111-2222-3333-4444-555555555555"}, {"not-after", "2027-11-02"}},
		Attachments: []Attachment{
			{Name: "reeve.cer", Data: derOf(t, cert)},
			{Name: "reeve.pem", Type: "application/x-pem-file", Data: cert},
		},
	}
}

func TestMailIsReadAsItWasWritten(t *testing.T) {
	for _, mode := range []TLS{StartTLS, ImplicitTLS, NoTLS} {
		for _, password := range []string{"", smtpPassword} {
			t.Run(fmt.Sprintf("%s, password %t", mode, password != ""), func(t *testing.T) {
				s := startMailServer(t, mode, password)
				o := s.options(mode, "Operations <ops@contoso.example>")
				if password != "" {
					o.Username, o.Password = "reeve", password
				}
				e := renewed(t)
				if err := newMail(t, o)[0].Send(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				m, msg := s.next(t)
				if m.From != "reeve@contoso.example" || len(m.To) != 1 || m.To[0] != "ops@contoso.example" ||
					m.TLS != (mode != NoTLS) || (m.User == "reeve") != (password != "") {
					t.Errorf("the envelope is %+v", m)
				}
				decoder := new(mime.WordDecoder)
				for name, want := range map[string]string{
					"Subject":        "[reeve] " + e.Subject,
					"From":           `"reeve" <reeve@contoso.example>`,
					"To":             `"Operations" <ops@contoso.example>`,
					"Date":           "Mon, 02 Nov 2026 09:00:00 +0000",
					"X-Reeve-Event":  e.ID,
					"X-Reeve-Kind":   "certificate-renewed",
					"Auto-Submitted": "auto-generated",
				} {
					if got, err := decoder.DecodeHeader(msg.Header.Get(name)); err != nil || got != want {
						t.Errorf("%s is %q, %v, want %q", name, got, err, want)
					}
				}
				got := parts(t, msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), "", msg.Body)
				if len(got) != 4 {
					t.Fatalf("there are %d parts: %q", len(got), got)
				}
				text, page := strings.ReplaceAll(string(got[0].data), "\r\n", "\n"), string(got[1].data)
				if got[0].kind != "text/plain" || got[1].kind != "text/html" {
					t.Errorf("the parts are %s and %s", got[0].kind, got[1].kind)
				}
				if !strings.HasPrefix(text, "What to do: "+e.Remedy+"\n\n"+e.Text+"\n\napplication: Überwachung\nclient-id: 1111") {
					t.Errorf("the text is %q", text)
				}
				if what, remedy := strings.Index(page, "A new certificate is active."), strings.Index(page, e.Remedy); remedy < 0 || what < remedy {
					t.Errorf("the remedy does not come first: %s", page)
				}
				if !strings.Contains(page, "&lt;drains&gt; &amp; goes") || strings.Contains(page, "<drains>") {
					t.Errorf("text became markup: %s", page)
				}
				if got[2].kind != "application/pkix-cert" || got[2].name != "reeve.cer" || !bytes.Equal(got[2].data, e.Attachments[0].Data) {
					t.Errorf("the first attachment is %s %q, %d bytes", got[2].kind, got[2].name, len(got[2].data))
				}
				if got[3].kind != "application/x-pem-file" || !bytes.Equal(got[3].data, e.Attachments[1].Data) {
					t.Errorf("the second attachment is %s %q: %s", got[3].kind, got[3].name, got[3].data)
				}
			})
		}
	}
}

func TestMailIsTheSameEachTime(t *testing.T) {
	s := startMailServer(t, StartTLS, "")
	target := newMail(t, s.options(StartTLS, "ops@contoso.example"))[0]
	e := renewed(t)
	var ids []string
	for _, id := range []string{e.ID, e.ID, "another"} {
		e.ID = id
		if err := target.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		_, msg := s.next(t)
		ids = append(ids, msg.Header.Get("Message-ID"))
	}
	if ids[0] != ids[1] || ids[1] == ids[2] || !strings.HasSuffix(ids[0], "@contoso.example>") {
		t.Errorf("the Message-IDs are %q", ids)
	}
}

// TestMailHeadersHoldOneLineEach sends what would add headers and recipients if it
// came through.
func TestMailHeadersHoldOneLineEach(t *testing.T) {
	s := startMailServer(t, StartTLS, "")
	const evil = "a\r\nBcc: spy@evil.example\r\n\r\nbody\u2028b\u202ec\x00"
	e := renewed(t)
	e.Subject, e.Kind, e.ID = evil, evil, evil // the last is refused when it is posted
	e.Attachments[0].Name, e.Attachments[0].Type = evil, "text/plain\r\nBcc: spy@evil.example"
	e.Fields = []Field{{evil, evil}}
	o := s.options(StartTLS, "ops@contoso.example")
	o.SubjectPrefix = evil
	if err := newMail(t, o)[0].Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	m, msg := s.next(t)
	head, _, _ := bytes.Cut(m.Content, []byte("\r\n\r\n"))
	if len(m.To) != 1 || msg.Header.Get("Bcc") != "" || bytes.Contains(head, []byte("\r\nBcc")) {
		t.Errorf("it came through: %v\n%s", m.To, head)
	}
	for _, p := range parts(t, msg.Header.Get("Content-Type"), "", "", msg.Body) {
		if strings.ContainsAny(p.name, "\r\n") {
			t.Errorf("a file is called %q", p.name)
		}
	}
	for _, o := range []MailOptions{
		{Host: "mail.example", From: evil, To: []string{"a@b.example"}},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example\r\nBcc: spy@evil.example"}},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example, spy@evil.example"}},
		{Host: "mail.example\r\n", From: "a@b.example", To: []string{"a@b.example"}},
		{Host: "mail.example", From: "a@b.example"},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example"}, Port: 70000},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example"}, TLS: "ssl"},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example"}, TLS: NoTLS, Username: "u", Password: smtpPassword},
		{Host: "mail.example", From: "a@b.example", To: []string{"a@b.example"}, CA: []byte("none")},
	} {
		if targets, err := NewMail(o); err == nil || strings.Contains(err.Error(), smtpPassword) {
			t.Errorf("%v gave %v, %v", o, targets, err)
		}
	}
}

func TestMailRefusals(t *testing.T) {
	for _, test := range []struct {
		name, to  string
		change    func(*MailOptions)
		permanent bool
		want      string
	}{
		{name: "no such user", to: "refused", permanent: true, want: "no such user"},
		{name: "after the text", to: "spam", permanent: true, want: "we do not like it"},
		{name: "later", to: "later", want: "try again later"},
		{name: "says the password", to: "echo", permanent: true, want: "you said <secret> and <secret>"},
		{name: "wrong password", to: "ops", change: func(o *MailOptions) { o.Password = "other" + smtpPassword }, want: "set notify.mail.username and"},
		{name: "no password", to: "ops", change: func(o *MailOptions) { o.Username = "" }, want: "set notify.mail.username and"},
		{name: "unknown authority", to: "ops", change: func(o *MailOptions) { o.CA = nil }, want: "certificate"},
		{name: "no TLS at the other end", to: "ops", change: func(o *MailOptions) { o.TLS = ImplicitTLS }, want: "TLS"},
		{name: "nobody there", to: "ops", change: func(o *MailOptions) { o.Port = 1 }, want: "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startMailServer(t, StartTLS, smtpPassword)
			o := s.options(StartTLS, test.to+"@contoso.example")
			o.Username, o.Password = "reeve", smtpPassword
			if test.change != nil {
				test.change(&o)
			}
			err := newMail(t, o)[0].Send(t.Context(), renewed(t))
			if err == nil || isPermanent(err) != test.permanent || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, permanent %t; want %q, permanent %t", err, isPermanent(err), test.want, test.permanent)
			}
			if err != nil && !strings.Contains(err.Error(), "mailing to "+test.to+"@contoso.example by localhost:") {
				t.Errorf("%v does not say what was being done", err)
			}
			for _, secret := range canaries(smtpPassword, "\x00reeve\x00"+smtpPassword) {
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
					t.Errorf("the error holds the password: %v", err)
				}
			}
		})
	}
}

// TestMailRefusesServerWithoutStartTLS: somebody on the way may have taken the offer out.
func TestMailRefusesServerWithoutStartTLS(t *testing.T) {
	s := startMailServer(t, NoTLS, smtpPassword)
	o := s.options(StartTLS, "ops@contoso.example")
	o.Username, o.Password = "reeve", smtpPassword
	if err := newMail(t, o)[0].Send(t.Context(), renewed(t)); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("got %v", err)
	}
}

// TestMailCutAfterTakenOver: nobody can tell then whether it has arrived, so it is
// sent again, and has the same Message-ID.
func TestMailCutAfterTakenOver(t *testing.T) {
	s := startMailServer(t, StartTLS, "")
	target := newMail(t, s.options(StartTLS, "gone@contoso.example"))[0]
	e := renewed(t)
	if err := target.Send(t.Context(), e); err == nil || isPermanent(err) {
		t.Errorf("the first time gave %v", err)
	}
	_, first := s.next(t)
	if err := target.Send(t.Context(), e); err != nil {
		t.Error(err)
	}
	_, second := s.next(t)
	if first.Header.Get("Message-ID") != second.Header.Get("Message-ID") {
		t.Error("the Message-IDs differ")
	}
}

func TestMailEndsWithItsContext(t *testing.T) {
	s := startMailServer(t, StartTLS, "")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	o := s.options(StartTLS, "hang@contoso.example")
	mute := o
	mute.Port = silent.Addr().(*net.TCPAddr).Port
	endless, err := net.Listen("tcp", "127.0.0.1:0") // says a line without an end
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	go func() {
		for {
			c, err := endless.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for line := bytes.Repeat([]byte("2"), 1<<16); ; {
					if _, err := c.Write(line); err != nil {
						return
					}
				}
			}()
		}
	}()
	for _, o := range []MailOptions{o, mute} {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := newMail(t, o)[0].Send(ctx, renewed(t)); !errors.Is(err, context.DeadlineExceeded) || isPermanent(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > mailTimeout/2 {
			t.Errorf("it went on for %s", took)
		}
		cancel()
	}
	o.Port = endless.Addr().(*net.TCPAddr).Port
	if err := newMail(t, o)[0].Send(t.Context(), renewed(t)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

// canaries are the forms in which a secret could show.
func canaries(secrets ...string) []string {
	var all []string
	for _, s := range secrets {
		all = append(all, s, base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)))
	}
	return all
}
