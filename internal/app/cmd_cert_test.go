package app_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// The commands in docs/operate/certificates.md work as they stand there, one after the
// other. It is the tutorial: from adopting to a renewal, back, revoked, and exported.
func TestCertificatesDocument(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	page := string(mustRead(t, filepath.Join("..", "..", "docs", "operate", "certificates.md")))
	programs := regexp.MustCompile("(?s)```sh\n(.*?)```\n").FindAllStringSubmatch(page, -1)
	texts := strings.Count(page, "```text\n")
	if fences := strings.Count(page, "```"); len(programs) < 8 || (len(programs)+texts)*2 != fences {
		t.Fatalf("%d programs are understood, and there are %d fences", len(programs), fences)
	}
	e := emulate(t, tenant.Options{})
	folder := t.TempDir()
	environ := append(e.client(t), endAtOnce, "PATH="+os.Getenv("PATH"), "HOME="+folder, "REEVE_DATABASE_URL=sqlite:"+filepath.Join(folder, "reeve.db"))
	var said bytes.Buffer
	for _, p := range programs {
		cmd := exec.CommandContext(t.Context(), sh, "-eu", "-c", p[1])
		cmd.Dir, cmd.Env = folder, environ
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, p[1], out.String())
		}
		said.Write(out.Bytes())
	}
	for _, line := range []string{
		`would be looked after`, `no standby waits`, `ok +certificate store`, `prove +done .*tokens were obtained`,
		`it was replaced by`, `see refused +done .*AADSTS700027`, `destroy +done`, `entries of the journal are as reeve wrote them`,
		`The policy of reeve can work`, `Of \d+ applications?, read to the end`,
	} {
		if !regexp.MustCompile(line).Match(said.Bytes()) {
			t.Errorf("nothing says %q", line)
		}
	}
	for _, name := range []string{"backup/reeve.pfx", "safe/reeve.password", "upload/reeve.cer", "reeve-keys.json"} {
		if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			t.Errorf("the page names %s: %v", name, err)
		}
	}
	if regexp.MustCompile(`PRIVATE KEY|eyJ[\w-]{20}`).Match(said.Bytes()) {
		t.Error("something secret was printed")
	}
	if t.Failed() {
		t.Log(said.String())
	}
}

// shownApplication is what the tests read of reeve cert show --json.
type shownApplication struct {
	Credentials []credential.Credential
	Wishes      []credential.Wish
}

func showApplication(t testing.TB, environ []string) shownApplication {
	t.Helper()
	var s shownApplication
	reeve(t, environ, "cert", "show", "--json").decode(t, &s)
	return s
}

// A renewal that is interrupted stands, and goes on with whoever asks next; two who ask
// at a time wait for one and the same. The certificate is made by an authority, and
// nobody else's is touched.
func TestRenewalThatIsInterrupted(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.client(t)
	folder := t.TempDir()
	reeve(t, environ, "cert", "adopt", "--issuer", "request").want(t, ok)

	r := start(t, environ, "cert", "renew", "--why", "first")
	r.says(t, regexp.MustCompile(`make key +done(?s:.*)has to be made by your authority`))
	r.interrupt(t).want(t, failure, "stopped. What was asked for stands")
	if s := showApplication(t, environ); len(s.Wishes) != 1 || s.Wishes[0].Why != "first" {
		t.Fatalf("the wishes are %v", s.Wishes)
	}

	// The request goes out, and the answer comes in.
	reeve(t, environ, "cert", "export", "--request", "--out", folder).want(t, ok, "reeve cert import")
	answer(t, filepath.Join(folder, "reeve.csr"), filepath.Join(folder, "answer.pem"))
	reeve(t, environ, "cert", "export", "--public", "--out", folder, "--name", "wrong").want(t, ok)
	reeve(t, environ, "cert", "import", "--certificate", filepath.Join(folder, "wrong.cer")).want(t, failure, "wrong.cer")
	reeve(t, environ, "cert", "import", "--certificate", filepath.Join(folder, "answer.pem")).want(t, ok)
	reeve(t, environ, "cert", "import", "--certificate", filepath.Join(folder, "answer.pem")).want(t, failure, "waits for a certificate")

	both := []*running{start(t, environ, "cert", "renew"), start(t, environ, "cert", "renew", "--why", "second")}
	for _, r := range both {
		r.says(t, regexp.MustCompile(`asked for this at .*, and it is not done yet(?s:.*)confirm +done`))
	}
	for _, r := range both {
		r.interrupt(t).want(t, failure, "stopped. What was asked for stands")
	}
	after := showApplication(t, environ)
	if len(after.Credentials) != 2 || len(after.Wishes) != 1 || after.Wishes[0].Why != "first" {
		t.Errorf("there are %d certificates, and the wishes are %v", len(after.Credentials), after.Wishes)
	}
	for _, c := range after.Credentials {
		if c.State == credential.Proving && len(c.Certificate) != 2 {
			t.Errorf("the one that is coming has %d certificates, and should have that of its authority as well", len(c.Certificate))
		}
	}
	app, _ := e.Directory.View(0).ApplicationByAppID(e.Client().ClientID)
	if n := len(app.KeyCredentials); n != 3 { // the expired one of somebody else, the adopted one, the new one
		t.Errorf("Entra ID has %d certificates", n)
	}
}

// Two people who change a policy at once both get what they wanted.
func TestPolicyOfTwoAtOnce(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.client(t)
	reeve(t, environ, "cert", "adopt").want(t, ok)
	changes := [][]string{{"--overlap", "3d"}, {"--lifetime", "200d"}, {"--destroy-after", "11d"}, {"--notice-days", "9"}, {"--mode", "observe"}, {"--subject", "CN=one"}}
	var all []*running
	for _, c := range changes {
		all = append(all, start(t, environ, append([]string{"cert", "policy", "set"}, c...)...))
	}
	for _, r := range all {
		<-r.done
		if r.code != ok {
			t.Errorf("%v ended with %d: %s", r.args, r.code, r.err.String())
		}
	}
	shown := reeve(t, environ, "cert", "policy", "show")
	for _, want := range []string{"3d", "200d", "11d", `\b9\b`, "observe", "CN=one"} {
		if !regexp.MustCompile(want).MatchString(shown.out) {
			t.Errorf("%s is lost:\n%s", want, shown.out)
		}
	}
}

// A policy is refused that names a place to which nothing can or ought to be published.
func TestPolicyOfImpossibleTargets(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	environ := append(e.client(t), "REEVE_CREDENTIALS_DIR="+filepath.Join(folder, "keys"))
	reeve(t, environ, "cert", "adopt").want(t, ok)
	keys, database := filepath.Join(folder, "keys"), filepath.Dir(databasePath(environ))
	if err := os.Symlink(keys, filepath.Join(folder, "link")); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		want    string
		targets []string
	}{
		{"where reeve keeps private keys", []string{"directory:" + keys}},
		{"where reeve keeps private keys", []string{"directory:" + filepath.Join(keys, "live")}},
		{"where reeve keeps private keys", []string{"directory:" + filepath.Join(folder, "link", "live")}},
		{"where reeve keeps private keys", []string{"directory:" + folder}},
		{"where reeve keeps the database", []string{"directory:" + database}},
		{"one and the same place", []string{"directory:" + live, "directory:" + live + "/"}},
		{"one and the same place", []string{"keyvault:x", "keyvault:" + e.variables["VAULT_URL"] + "/certificates/X,format=pem"}},
		{"there is no group", []string{"directory:" + live + ",group=nobody-has-this-group"}},
		{"/nope", []string{"directory:" + live + ",password-file=/nope"}},
		{"/proc is the system's own", []string{"directory:/proc/x"}},
		{"/dev is the system's own", []string{"directory:/etc/../dev"}},
	} {
		args := []string{"cert", "policy", "set"}
		for _, target := range c.targets {
			args = append(args, "--target", target)
		}
		reeve(t, environ, args...).want(t, usage, c.want)
	}
	reeve(t, environ, "cert", "policy", "set", "--target", "directory:"+live, "--target", "keyvault:x").want(t, ok)
}

// An entry of the journal that was changed by other means is found, and so is one that
// was taken out.
func TestHistoryThatWasChanged(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.client(t)
	reeve(t, environ, "cert", "adopt").want(t, ok)
	for _, overlap := range []string{"1d", "2d", "3d"} {
		reeve(t, environ, "cert", "policy", "set", "--overlap", overlap).want(t, ok)
	}
	reeve(t, environ, "cert", "history", "--verify").want(t, ok, "All 4 entries")
	db, err := sql.Open("sqlite", databasePath(environ))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	change("UPDATE credential_journal SET actor = 'nobody' WHERE seq = 3")
	reeve(t, environ, "cert", "history", "--verify").want(t, check, "entry 3 of the journal is not as reeve wrote it", "2 entries are as reeve wrote them")
	change("DELETE FROM credential_journal WHERE seq = 2")
	reeve(t, environ, "cert", "history", "--verify", "--json").want(t, check, "the journal has no entry 2")
}

// A list of the tenant that breaks off is not shown.
func TestInventoryThatBreaksOff(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.client(t)
	var all []map[string]any
	o := reeve(t, environ, "cert", "list", "--all", "--within", "5000d", "--service-principals", "--json")
	o.decode(t, &all)
	if len(all) != 2 {
		t.Errorf("there are %d certificates and secrets, want 2:\n%s", len(all), o.out)
	}
	e.service.Inject(emulator.Fault{API: "graph", Operation: "servicePrincipals", Kind: emulator.ServerError})
	o = reeve(t, environ, "cert", "list", "--all", "--within", "5000d", "--service-principals", "--json")
	o.want(t, source, "the list would not be complete, and is not shown")
	if o.out != "" {
		t.Errorf("it is shown:\n%s", o.out)
	}
	var shown any
	if json.Unmarshal([]byte(o.out), &shown) == nil {
		t.Error("half a list is JSON")
	}
}

// Ten thousand applications are listed to the end, what ends soonest first, in less
// than a minute.
func TestInventoryOfManyApplications(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	now := time.Now()
	const many, every = 10_000, 10
	if err := e.Directory.Update(func(u *directory.Update) error {
		for n := range many {
			app := &directory.Application{ID: uuid.NewString(), AppID: uuid.NewString(), CreatedDateTime: now,
				DisplayName: fmt.Sprintf("application %d", n), SignInAudience: "AzureADMyOrg"}
			days := 200 + n%100
			if n%every == 0 {
				days = 80 - n%79 // some of them have ended
			}
			ends := now.AddDate(0, 0, days)
			app.PasswordCredentials = []directory.PasswordCredential{{KeyID: app.AppID, StartDateTime: now.AddDate(-1, 0, 0), EndDateTime: ends}}
			u.PutApplication(app)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var all []struct {
		Ends     time.Time
		ClientID string `json:"client_id"`
		KeyID    string `json:"key_id"`
	}
	reeve(t, e.client(t), "cert", "list", "--all", "--json").decode(t, &all)
	took := time.Since(begun)
	t.Logf("%d applications were listed in %v", many, took)
	if len(all) != many/every+1 { // and the expired certificate of the demo application
		t.Errorf("%d certificates and secrets are listed, want %d", len(all), many/every+1)
	}
	if took > time.Minute {
		t.Errorf("listing %d applications took %v", many, took)
	}
	for i := range all {
		if i > 0 && all[i].Ends.Before(all[i-1].Ends) {
			t.Fatalf("number %d ends before the one before", i)
		}
	}
}
