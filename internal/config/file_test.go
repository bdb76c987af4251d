package config

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

func TestFileProblems(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"section without keys", "auth:\nfeeds:\n  audit:\n", ""},
		{"only a comment", "# nothing\n", ""},
		{"empty", "", ""},
		{"only a document mark", "---\n", ""},
		{"dotted key", "auth.method: azure-cli\n", ""},
		{"partly dotted key", "feeds:\n  audit.days: 3\n", ""},
		{"empty list", "feeds.audit.org-urls: []\n", ""},
		{"quoted number", "feeds.audit.days: \"3\"\n", ""},

		{"unknown", "frobnicate: 1\n", "FILE:1: frobnicate: unknown key"},
		{"in the wrong section", "auth:\n  tenant-id: x\n", "FILE:2: auth.tenant-id: unknown key; did you mean tenant-id?"},
		{"without its section", "\ndays: 3\n", "FILE:2: days: unknown key; did you mean feeds.audit.days?"},
		{"in camel case", "feeds:\n  audit:\n    orgUrls: x\n", "FILE:3: feeds.audit.orgUrls: unknown key; did you mean feeds.audit.org-urls?"},
		{"misspelled section", "databse:\n  url: x\n", "FILE:1: databse: unknown key; did you mean database?"},
		{"the original's name", "TenantGUID: x\n", "FILE:1: TenantGUID: unknown key; TenantGUID is called tenant-id here"},
		{"the SDK's name", "AZURE_CLIENT_ID: x\n", "FILE:1: AZURE_CLIENT_ID: unknown key; AZURE_CLIENT_ID is called client-id here"},
		{"twice", "listen: localhost:1\nlisten: localhost:2\n", "FILE:2: listen: given twice; the first is in line 1"},
		{"twice, once dotted", "log:\n  level: warn\nlog.level: warn\n", "FILE:3: log.level: given twice; the first is in line 2"},
		{"no value", "tenant-id:\n", "FILE:1: tenant-id: has no value: give one or remove the line; one that begins with # must be in quotes"},
		{"mapping for a value", "cloud:\n  name: public\n", "FILE:2: cloud: want one value; one that begins with { or [ must be in quotes"},
		{"list for a value", "cloud: [public]\n", "FILE:1: cloud: want one value; one that begins with { or [ must be in quotes"},
		{"value for a section", "auth: certificate\n", "FILE:1: auth: a section: want its keys in lines of their own below it, indented"},
		{"value for a list", "feeds.audit.org-urls: https://x.example\n", `FILE:1: feeds.audit.org-urls: want a list: each element in a line of its own that begins with "- "`},
		{"list in a list", "feeds.audit.org-urls:\n - [a]\n", "FILE:2: feeds.audit.org-urls: want one value; one that begins with { or [ must be in quotes"},
		{"alias", "cloud: &c public\nlisten: *c\n",
			"FILE:1: cloud: a value that begins with *, & or ! must be in quotes\nFILE:2: listen: a value that begins with *, & or ! must be in quotes"},
		{"tag", "cloud: !!str public\n", "FILE:1: cloud: a value that begins with *, & or ! must be in quotes"},
		{"a list at the top", "- a\n", `FILE:1: want lines such as "tenant-id: …" at the top of the file`},
		{"text at the top", "hello\n", `FILE:1: want lines such as "tenant-id: …" at the top of the file`},
		{"a key that is a list", "? [a]\n: b\n", "FILE:1: want a name before each colon"},
		{"two documents", "cloud: gcc\n---\ncloud: dod\n", "FILE:2: want one document: remove what follows the line ---"},
		{"tab", "auth:\n\tmethod: secret\n", "FILE: not YAML, near line 2: found character that cannot start any token"},
		{"not UTF-8", "cloud: \xff\n", "FILE: not YAML: invalid leading UTF-8 octet"},
		{"too long", "#" + strings.Repeat("x", maxFile), "FILE: reading the configuration file: longer than 1048576 bytes: is it the right file?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(problems(t, Source{File: writeFile(t, tt.text)}), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Notepad and PowerShell write byte order marks, CRLF and UTF-16.
func TestWindowsFile(t *testing.T) {
	const text = "auth:\r\n  method: azure-cli\r\nfeeds:\r\n  audit:\r\n    org-urls:\r\n      - =https://contoso.sharepoint.com/sites/prüfung\r\n"
	var wide []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		wide = binary.LittleEndian.AppendUint16(wide, unit)
	}
	for name, data := range map[string]string{"CRLF": text, "byte order mark": "\ufeff" + text, "UTF-16": string(wide)} {
		c := mustLoad(t, Source{File: writeFile(t, data)})
		want := []string{"=https://contoso.sharepoint.com/sites/prüfung"}
		if diff := cmp.Diff(want, c.Feeds.Audit.OrgURLs); diff != "" || c.Auth.Method != "azure-cli" {
			t.Errorf("%s: method %q, org-urls (-want +got):\n%s", name, c.Auth.Method, diff)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(Sample()))
	f.Add([]byte("\ufefftenant-id: x\r\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("feeds:\n  audit:\n    org-urls: [a, {b: c}, null]\n"))
	f.Add([]byte("? {a: b}\n: c\n--- |\n x\n"))
	f.Add([]byte("<<: {cloud: gcc}\ncloud: ~\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		givens, problems := parseFile("FILE", data)
		for _, g := range givens {
			field, ok := fieldOf(g.key)
			if !ok || len(g.origin) == 0 || !field.list() && len(g.texts) != 1 {
				t.Errorf("read %+v", g)
			}
			for i, text := range g.texts {
				field.parse(text)
				if !strings.HasPrefix(g.at(i), "FILE:") {
					t.Errorf("%s: origin %q", g.key, g.at(i))
				}
			}
		}
		for _, p := range problems {
			if p.Text == "" || !strings.HasPrefix(p.Origin, "FILE") || len(p.Error()) > 2000 {
				t.Errorf("problem %+v", p)
			}
		}
	})
}
