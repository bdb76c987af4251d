package app

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
)

// told is what a webhook was told.
type told struct {
	Event  string // of the header
	Signed bool
	Body   string
	Alerts []struct {
		Labels      map[string]string
		Annotations map[string]string
	}
}

// TestServeTells has a webhook and a mailbox told what a running serve does: a standby is
// made, it is promoted, and another application's certificate cannot be published.
func TestServeTells(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes two minutes")
	}
	const path, key = "/hooks/Canary-path", "Canary-key"
	var mu sync.Mutex
	var posts []told
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		p := told{Event: r.Header.Get("X-Reeve-Event"), Body: string(body),
			Signed: r.Method == http.MethodPost && r.URL.Path == path && r.Header.Get("X-Reeve-Signature") == "sha256="+hex.EncodeToString(mac.Sum(nil))}
		if err := json.Unmarshal(body, &p); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		posts = append(posts, p)
	}))
	defer hook.Close()
	s := newServed(t, "REEVE_NOTIFY_WEBHOOK_URL="+hook.URL+path, "REEVE_NOTIFY_WEBHOOK_SECRET="+key)
	box := s.startMailbox()

	// The folder to publish to is a file.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.adopt("payroll", credential.Policy{Targets: []string{"directory:" + blocked}})

	p := s.run("serve", "--role", roleCredentials)
	s.page(p)
	find := func(kind, application string) (told, bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range posts {
			if len(p.Alerts) == 1 && p.Alerts[0].Labels["alertname"] == kind && p.Alerts[0].Labels["application"] == application {
				return p, true
			}
		}
		return told{}, false
	}
	heard := func(kind, application string) func() bool {
		return func() bool { _, ok := find(kind, application); return ok }
	}
	s.until("a failure to be told", 2*time.Minute, heard("certificate-stuck", "payroll"))
	s.until("a new certificate to be told", 4*time.Minute, heard(rotate.KindGenerated, "reeve"))
	own, _ := s.find("reeve")
	standby, _ := own.Standby()
	if _, err := s.db.AddWish(t.Context(), s.number, own.ObjectID, credential.Wish{Kind: credential.Promote, By: "test", At: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
	s.until("the renewal to be told", 2*time.Minute, heard(rotate.KindRenewed, "reeve"))

	wants := []struct{ kind, application, severity, summary, subject string }{
		{"certificate-stuck", "payroll", "warning", `payroll: the step "publish" for the certificate, which is active, fails, 3 times so far: `, "[reeve] payroll: the step "},
		{rotate.KindGenerated, "reeve", "info", "reeve: a new certificate was made, registered and proved", "[reeve] reeve: a new certificate was made, registered and proved"},
		{rotate.KindRenewed, "reeve", "info", "reeve: a new certificate is in use", "[reeve] reeve: a new certificate is in use"},
	}
	for _, want := range wants {
		post, _ := find(want.kind, want.application)
		a := post.Alerts[0]
		if !post.Signed || a.Labels["severity"] != want.severity || !strings.HasPrefix(a.Annotations["summary"], want.summary) || a.Labels["event"] != post.Event {
			t.Errorf("the webhook was told %+v", post)
		}
		if want.application == "reeve" && a.Labels["thumbprint__SHA_1_"] != standby.SHA1 {
			t.Errorf("the webhook was told of another certificate than %s: %v", standby.SHA1, a.Labels)
		}
	}
	if box != nil {
		for _, want := range wants {
			var m mailed
			s.until("a mail of "+want.kind, time.Minute, func() bool {
				var ok bool
				m, ok = box.find(want.kind, want.subject)
				return ok
			})
			if strings.Contains(m.subject, "(trace") || len(m.texts) != 2 {
				t.Errorf("the mail is %+v", m)
			}
			if want.application == "reeve" && (len(m.attached) != 1 || fingerprint(m.attached[0]) != standby.SHA256) {
				t.Errorf("%d certificates are attached, want that of %s", len(m.attached), standby.SHA256)
			}
			if testing.Verbose() {
				t.Logf("%s\n%s", m.subject, m.texts[0])
			}
		}
	}
	p.end()

	mu.Lock()
	defer mu.Unlock()
	everything := p.err.String()
	for _, post := range posts {
		everything += post.Body
	}
	if box != nil {
		everything += box.all()
	}
	for _, secret := range []string{"PRIVATE KEY", "Canary", "eyJ"} {
		if strings.Contains(everything, secret) {
			t.Errorf("what was told, or the log, shows %q", secret)
		}
	}
	seen := map[string]bool{}
	for _, post := range posts {
		if seen[post.Event] {
			t.Errorf("event %s was told twice, though nothing failed", post.Event)
		}
		seen[post.Event] = true
	}
}

// adopt registers an application at Entra ID, and begins to look after it.
func (s *served) adopt(name string, policy credential.Policy) {
	s.t.Helper()
	key, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		s.t.Fatal(err)
	}
	subject, err := pki.ParseName("CN=" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := pki.SelfSign(key, pki.Template{Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)})
	if err != nil {
		s.t.Fatal(err)
	}
	entra := s.tenant.Directory.NewApplication(name)
	if _, err := s.tenant.Directory.AddKeyCredential(entra.AppID, pair.Certificate.Raw, time.Time{}, time.Time{}); err != nil {
		s.t.Fatal(err)
	}
	a := s.setup()
	defer a.Close()
	r, err := a.rotation(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := r.Adopt(s.t.Context(), rotate.Adoption{
		ObjectID: entra.ID, ClientID: entra.AppID, TenantID: s.tenant.ID, Name: name, Mode: credential.On,
		Policy: policy.Complete(a.Cloud.GraphAudience), Pair: pair, By: "test",
	}); err != nil {
		s.t.Fatal(err)
	}
}

// find is the application of a name.
func (s *served) find(name string) (credential.Application, bool) {
	s.t.Helper()
	all, err := s.db.Applications(s.t.Context(), s.number)
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a credential.Application) bool { return a.Name == name })
	if i < 0 {
		return credential.Application{}, false
	}
	return all[i], true
}

// mailbox is what a mail server has taken over.
type mailbox struct {
	mu    sync.Mutex
	mails []mailed
}

type mailed struct {
	kind, subject string
	texts         []string // plain, then HTML
	attached      [][]byte
	raw           string
}

// startMailbox starts a mail server and has serve mail to it; nil when this machine has no
// mail server.
func (s *served) startMailbox() *mailbox {
	s.t.Helper()
	const python = "/usr/bin/python3" // Debian's own, which alone sees Debian's packages
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		s.t.Log("python3-aiosmtpd is not installed, so that no mails are read")
		return nil
	}
	pem := byNames(s.environ)["CERT_PEM"] // any certificate will do: it is not used
	cmd := exec.Command(python, "-B", filepath.Join("..", "notify", "testdata", "smtpd.py"), "none", pem, pem)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	var complaints said
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		s.t.Fatalf("the mail server did not start: %s", complaints.String())
	}
	s.environ = with(s.environ, []string{"REEVE_NOTIFY_MAIL_HOST=127.0.0.1", "REEVE_NOTIFY_MAIL_PORT=" + lines.Text(), "REEVE_NOTIFY_MAIL_TLS=none",
		"REEVE_NOTIFY_MAIL_FROM=reeve@contoso.example", "REEVE_NOTIFY_MAIL_TO=ops@contoso.example"})
	box := &mailbox{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() {
			var taken struct{ Content []byte }
			if err := json.Unmarshal(lines.Bytes(), &taken); err != nil {
				s.t.Error(err)
				return
			}
			m, err := readMail(taken.Content)
			if err != nil {
				s.t.Error(err)
			}
			box.mu.Lock()
			box.mails = append(box.mails, m)
			box.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() {
		stdin.Close()
		<-done
		cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("the mail server said: %s", complaints.String())
		}
	})
	return box
}

func readMail(content []byte) (mailed, error) {
	m := mailed{raw: string(content)}
	msg, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return m, err
	}
	m.kind = msg.Header.Get("X-Reeve-Kind")
	if m.subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return m, err
	}
	return m, m.read(msg.Header.Get("Content-Type"), msg.Body)
}

// read takes the texts and attachments out of the parts of a mail.
func (m *mailed) read(contentType string, body io.Reader) error {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	r := multipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextPart() // which decodes quoted-printable
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		kind := p.Header.Get("Content-Type")
		switch {
		case strings.HasPrefix(kind, "multipart/"):
			if err := m.read(kind, p); err != nil {
				return err
			}
		case strings.HasPrefix(kind, "text/"):
			text, err := io.ReadAll(p)
			if err != nil {
				return err
			}
			m.texts = append(m.texts, string(text))
		default:
			data, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
			if err != nil {
				return err
			}
			m.attached = append(m.attached, data)
		}
	}
}

// fingerprint is the SHA-256 thumbprint of a certificate in DER.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func (b *mailbox) find(kind, subject string) (mailed, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if m.kind == kind && strings.HasPrefix(m.subject, subject) {
			return m, true
		}
	}
	return mailed{}, false
}

// all is what all mails say, decoded or not.
func (b *mailbox) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, m := range b.mails {
		text.WriteString(m.raw + strings.Join(m.texts, "\n"))
	}
	return text.String()
}
