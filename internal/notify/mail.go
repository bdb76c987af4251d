package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net"
	"net/mail"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
)

// TLS says how the connection to the mail server is protected.
type TLS string

const (
	// StartTLS begins in the clear and goes on under TLS, or not at all.
	StartTLS TLS = "starttls"
	// ImplicitTLS is under TLS from the first byte.
	ImplicitTLS TLS = "implicit"
	// NoTLS is in the clear. A password is then sent to this machine alone.
	NoTLS TLS = "none"
)

// MailOptions say how events are mailed. They print as the server's name alone.
type MailOptions struct {
	Host string
	Port int // 0 means 587, with ImplicitTLS 465, with NoTLS 25
	From string
	To   []string
	// SubjectPrefix stands before each subject, in brackets if it is a bare word, so that it
	// is not taken for the application's name: "reeve" becomes "[reeve]".
	SubjectPrefix string

	// Username and Password sign in at the server; without a username nobody does.
	// How is the server's choice among what go-mail knows, the strongest first.
	Username string
	Password string `json:"-"`

	// TLS is how the connection is protected. Empty means StartTLS, or NoTLS to
	// this machine.
	TLS TLS
	// CA holds PEM certificates of authorities that are trusted besides the system's.
	CA []byte `json:"-"`
}

// String names the server.
func (o MailOptions) String() string { return "mail by " + o.Host }

// Format makes every verb print what String does.
func (o MailOptions) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// mailTimeout is how long a mail may take, from the first packet to the last.
const mailTimeout = 30 * time.Second

// A Mail mails each event to one recipient over SMTP. Its Message-ID is the same
// however often the event is sent, and X-Reeve-Event holds the event's ID.
//
// A server that refuses the mail for good (5xx) is not asked again. One that refuses
// the connection or the password is, since that is mended in the settings or at the
// server, and what happened meanwhile ought to be told then.
type Mail struct {
	server   string // for texts
	from, to *mail.Address
	prefix   string
	host     string
	signIn   func() (username, password string) // a function prints as its address
	tls      TLS
	secure   *tls.Config
	port     int
}

// NewMail returns a target for each recipient, so that one who is refused keeps
// nothing from the others, and nobody is told again because somebody else was not
// reached.
func NewMail(o MailOptions) ([]Target, error) {
	if net.ParseIP(o.Host) == nil && (o.Host == "" || strings.ContainsFunc(o.Host, notInHost)) {
		return nil, fmt.Errorf("%q is not the name of a mail server", o.Host)
	}
	local := isLoopback(o.Host)
	if o.TLS == "" {
		o.TLS = StartTLS
		if local {
			o.TLS = NoTLS
		}
	}
	ports := map[TLS]int{StartTLS: 587, ImplicitTLS: 465, NoTLS: 25}
	switch {
	case ports[o.TLS] == 0:
		return nil, fmt.Errorf("%q is no protection of a mail connection: it is %s, %s or %s", o.TLS, StartTLS, ImplicitTLS, NoTLS)
	case o.TLS == NoTLS && o.Username != "" && !local:
		return nil, fmt.Errorf("the password for the mail server %s would be sent in the clear; set notify.mail.tls to %s or %s", o.Host, StartTLS, ImplicitTLS)
	case len(o.To) == 0:
		return nil, errors.New("there is nobody to mail to; set notify.mail.to")
	}
	if o.Port == 0 {
		o.Port = ports[o.TLS]
	}
	if o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("%d is no port of a mail server", o.Port)
	}
	roots, err := authorities(o.CA)
	if err != nil {
		return nil, err
	}
	from, err := address(o.From)
	if err != nil {
		return nil, fmt.Errorf("the sender of mails: %w", err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.Host, RootCAs: roots}
	var targets []Target
	seen := map[string]bool{}
	for _, s := range o.To {
		to, err := address(s)
		if err != nil {
			return nil, fmt.Errorf("a recipient of mails: %w", err)
		}
		if seen[to.Address] {
			continue
		}
		seen[to.Address] = true
		targets = append(targets, &Mail{
			server: net.JoinHostPort(o.Host, strconv.Itoa(o.Port)),
			host:   o.Host, port: o.Port,
			from: from, to: to,
			prefix: bracketed(oneLine(o.SubjectPrefix)),
			signIn: func() (string, string) { return o.Username, o.Password },
			tls:    o.TLS, secure: secure,
		})
	}
	return targets, nil
}

// options say how go-mail sends one mail, for as long as ctx lasts.
func (m *Mail) options(ctx context.Context) []gomail.Option {
	options := []gomail.Option{
		gomail.WithPort(m.port), gomail.WithTimeout(mailTimeout), gomail.WithTLSConfig(m.secure),
		gomail.WithTLSPolicy(gomail.TLSMandatory),
	}
	auth := []gomail.SMTPAuthType{
		gomail.SMTPAuthSCRAMSHA256PLUS, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1PLUS, gomail.SMTPAuthSCRAMSHA1,
		gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
	}
	var implicit *tls.Config
	switch m.tls {
	case ImplicitTLS:
		options, implicit = append(options, gomail.WithSSL()), m.secure
	case NoTLS: // with a password only to this machine: see NewMail
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
		auth = []gomail.SMTPAuthType{
			gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1,
			gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc,
		}
	}
	if isASCII(m.from.Address + m.to.Address) { // a server on the way may not know SMTPUTF8
		options = append(options, gomail.WithoutSMTPUTF8())
	}
	if username, password := m.signIn(); username != "" {
		options = append(options, gomail.WithUsername(username), gomail.WithPassword(password), gomail.WithOpportunisticSMTPAuth(auth...))
	}
	return append(options, gomail.WithDialContextFunc(func(dialling context.Context, _, address string) (net.Conn, error) {
		return dial(ctx, dialling, address, implicit)
	}))
}

func notInHost(r rune) bool { return r <= ' ' || strings.ContainsRune("/:@\x7f", r) }

// address reads one address of RFC 5322, which cannot hold another header.
func address(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return nil, fmt.Errorf("%q is not an address", s)
	}
	return a, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// Name is "mail:" and the recipient's address.
func (m *Mail) Name() string { return "mail:" + m.to.Address }

// String names the recipient and the server.
func (m *Mail) String() string { return fmt.Sprintf("mail to %s by %s", m.to.Address, m.server) }

// Format makes every verb print what String does.
func (m *Mail) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// Send mails the event. It returns nil when the server has taken the mail over,
// however the connection ends after that.
func (m *Mail) Send(ctx context.Context, e Event) error {
	doing := fmt.Sprintf("mailing to %s by %s", m.to.Address, m.server)
	msg, err := m.message(e)
	if err != nil {
		return Permanent(fmt.Errorf("%s: %w", doing, err))
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	client, err := gomail.NewClient(m.host, m.options(ctx)...)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, m.hide(err))
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: the server did not take it within %s: %w", doing, mailTimeout, ctx.Err())
	}
	return m.judge(doing, err)
}

// judge says what a failure means.
func (m *Mail) judge(doing string, err error) error {
	said := fmt.Errorf("%s: %w", doing, m.hide(err))
	code := 0
	var refused *gomail.SendError
	var answer *textproto.Error
	switch {
	case errors.As(err, &refused):
		code = refused.ErrorCode()
	case errors.As(err, &answer):
		code = answer.Code
	}
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538:
		return fmt.Errorf("%w; set notify.mail.username and notify.mail.password", said)
	case refused != nil && code >= 500:
		return Permanent(said)
	}
	return said
}

// hide is what an error says without the password, in the forms in which it is sent.
func (m *Mail) hide(err error) error {
	username, password := m.signIn()
	return hide(err, password, "\x00"+username+"\x00"+password)
}

// maxHeard is how much a mail server may say about one mail.
const maxHeard = 1 << 20

// A heard connection ends with its context, and when the server says too much:
// go-mail looks at the context only while it dials, and reads lines of any length.
type heard struct {
	net.Conn
	left int
	stop func() bool
}

func (c *heard) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server said more than %d bytes", maxHeard)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *heard) Close() error {
	c.stop()
	return c.Conn.Close()
}

// dial connects. Contexts: go-mail's ends with the dialling, ctx with the mail.
func dial(ctx, dialling context.Context, address string, implicit *tls.Config) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(dialling, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := &heard{Conn: raw, left: maxHeard, stop: context.AfterFunc(ctx, func() { raw.Close() })}
	if implicit == nil {
		return conn, nil
	}
	secured := tls.Client(conn, implicit)
	if err := secured.HandshakeContext(dialling); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// message is the mail about an event, the same each time.
func (m *Mail) message(e Event) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(m.to)
	headline, text := headline(e)
	msg.Subject(strings.TrimSpace(m.prefix + " " + headline))
	msg.SetDateWithValue(e.At.UTC())
	id := sha256.Sum256([]byte(e.ID))
	domain := m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
	if !isASCII(domain) {
		domain = "localhost"
	}
	msg.SetMessageIDWithValue(hex.EncodeToString(id[:16]) + "@" + domain)
	msg.SetGenHeader("X-Reeve-Event", oneLine(e.ID))
	msg.SetGenHeader("X-Reeve-Kind", oneLine(e.Kind))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no out-of-office replies, RFC 3834
	if e.Severity == Critical {
		msg.SetImportance(gomail.ImportanceHigh)
	}
	shown := e
	shown.Subject, shown.Text = headline, text
	shown.Fields = slices.DeleteFunc(slices.Clone(e.Fields), func(f Field) bool { return f.Value == "" })
	msg.SetBodyString(gomail.TypeTextPlain, plainText(shown))
	page := new(bytes.Buffer)
	if err := htmlText.Execute(page, shown); err != nil {
		return nil, fmt.Errorf("writing the mail: %w", err)
	}
	msg.AddAlternativeString(gomail.TypeTextHTML, page.String())
	for _, a := range e.Attachments {
		kind := a.Type
		if kind == "" {
			kind = "application/pkix-cert"
		}
		// A type that is none could hold another header.
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != kind {
			kind = "application/octet-stream"
		}
		if err := msg.AttachReader(oneLine(a.Name), bytes.NewReader(a.Data), gomail.WithFileContentType(gomail.ContentType(kind))); err != nil {
			return nil, fmt.Errorf("attaching %s: %w", a.Name, err)
		}
	}
	return msg, nil
}

// longestHeadline is how many characters of a subject are read at a glance; more are cut
// off by most programs that list mails.
const longestHeadline = 120

var supportIDs = regexp.MustCompile(` \((?:trace|request) [^()]*\)`)

// SupportIDs separates what people read from the ids that Microsoft's support asks for, as
// errors have them at their end; ids are the first ones.
func SupportIDs(text string) (plain, ids string) {
	return supportIDs.ReplaceAllString(text, ""), strings.Trim(supportIDs.FindString(text), " ()")
}

// headline is an event's subject as it is read at a glance: one line, not too long, and
// without what only Microsoft's support understands. The text has what was left out.
func headline(e Event) (line, text string) {
	whole := oneLine(e.Subject)
	line, _ = SupportIDs(whole)
	if r := []rune(line); len(r) > longestHeadline {
		line = string(r[:longestHeadline-1])
		if i := strings.LastIndexByte(line, ' '); i > len(line)/2 {
			line = line[:i]
		}
		line = strings.TrimRight(line, " ,;:") + "…"
	}
	text = e.Text
	if line != whole && (text == "" || !strings.HasSuffix(whole, oneLine(text))) {
		text = strings.TrimSpace(whole + "\n\n" + text)
	}
	return line, text
}

// bracketed sets a prefix apart from what follows.
func bracketed(prefix string) string {
	if prefix == "" || strings.ContainsFunc(prefix, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' && r != '-' }) {
		return prefix
	}
	return "[" + prefix + "]"
}

// plainText is the text part: what to do first, then what happened.
func plainText(e Event) string {
	b := new(strings.Builder)
	if e.Remedy != "" {
		fmt.Fprintf(b, "What to do: %s\n\n", e.Remedy)
	}
	if e.Text != "" {
		fmt.Fprintf(b, "%s\n\n", e.Text)
	}
	for _, f := range e.Fields {
		fmt.Fprintf(b, "%s: %s\n", oneLine(f.Name), oneLine(f.Value))
	}
	fmt.Fprintf(b, "\n%s, %s, %s\n", e.Kind, e.Severity, e.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	return b.String()
}

// htmlText is the HTML part, with the same words in the same order. It fetches
// nothing.
var htmlText = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Subject}}</title></head>
<body style="margin: 0; padding: 16px; font: 15px/1.45 'Segoe UI', system-ui, sans-serif">
<div style="max-width: 640px">
<h1 style="margin: 0 0 12px; padding-left: 12px; border-left: 4px solid {{if eq .Severity "critical"}}#b10e1c{{else if eq .Severity "warning"}}#bc4b09{{else}}#0f6cbd{{end}}; font-size: 18px; line-height: 1.3">{{.Subject}}</h1>
{{with .Remedy}}<p><strong>What to do:</strong> {{.}}</p>
{{end}}{{with .Text}}<p style="white-space: pre-line">{{.}}</p>
{{end}}{{with .Fields}}<table style="border-collapse: collapse; font-size: 14px">
{{range .}}<tr><th style="padding: 3px 16px 3px 0; text-align: left; vertical-align: top; font-weight: 400; opacity: 0.7; white-space: nowrap">{{.Name}}</th><td style="padding: 3px 0; word-break: break-word">{{.Value}}</td></tr>
{{end}}</table>
{{end}}<p style="opacity: 0.7"><small>{{.Kind}}, {{.Severity}}, {{.At.UTC.Format "2006-01-02 15:04:05 UTC"}}</small></p>
</div>
</body></html>
`))
