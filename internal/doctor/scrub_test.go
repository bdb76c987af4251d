package doctor

import (
	"archive/zip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write words.txt anew, from the texts of the packages beside this one")

var lowWord = regexp.MustCompile(`^[a-z]+('[a-z]+)?(-[a-z]+)*$`)

// wordsIn are the plain words of the string literals of a folder's Go files.
func wordsIn(t *testing.T, folder string, leaveOut ...string) []string {
	t.Helper()
	var words []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || slices.Contains(leaveOut, d.Name())):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				if n.Tag != nil {
					n.Tag.Value = `""`
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					text, _ := strconv.Unquote(n.Value)
					for _, w := range shapes.FindAllString(text, -1) {
						if lowWord.MatchString(w) && len(w) <= 20 && !strings.Contains(w, "contoso") {
							words = append(words, w)
						}
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// TestWords: what this package says stays readable in a bundle.
func TestWords(t *testing.T) {
	if *update {
		text := strings.Join(wordsIn(t, "..", "emulator"), "\n") + "\n"
		if err := os.WriteFile("words.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("words.txt is written anew")
	}
	list := strings.Fields(wordList)
	if !slices.IsSorted(list) || len(list) < 1000 {
		t.Errorf("words.txt has %d words, or is not sorted", len(list))
	}
	for _, w := range list {
		if !lowWord.MatchString(w) {
			t.Errorf("%q is no plain word", w)
		}
	}
	for _, w := range wordsIn(t, ".") {
		if !plain[w] {
			t.Errorf("%q is said, and not in words.txt: go test ./internal/doctor -run TestWords -update", w)
		}
	}
}

func TestScrub(t *testing.T) {
	s := NewScrubber([]string{"Sesam, öffne dich"}, []string{"tenant-id"})
	for in, want := range map[string]string{
		"tenant-id: missing":                                 "tenant-id: missing",
		"the password is Sesam, öffne dich":                  "the password is <secret>",
		"https://login.microsoftonline.com/":                 "https://login.microsoftonline.com/",
		"it answered 403 (AADSTS700027) after 1.5s":          "it answered 403 (AADSTS700027) after 1.5s",
		"at 2026-11-21T10:00:00Z":                            "at 2026-11-21T10:00:00Z",
		"it leads to 127.0.0.1:8080":                         "it leads to 127.0.0.1:8080",
		"https://NAME:PASSWORD@proxy.fabrikam.example:3128":  "https://" + s.Name("host", "proxy.fabrikam.example") + ":3128",
		"https://fabrikam.vault.azure.net/secrets/x":         "https://" + s.Name("host", "fabrikam.vault.azure.net") + ".azure.net/" + s.Name("path", "secrets/x"),
		"https://api.fabrikam.westeurope.cloudapp.azure.com": "https://" + s.Name("host", "api.fabrikam.westeurope.cloudapp.azure.com") + ".azure.com",
		"login.fabrikam.usgovcloudapi.net":                   s.Name("host", "login.fabrikam.usgovcloudapi.net") + ".usgovcloudapi.net",
		"login.partner.microsoftonline.cn, manage.protection.apps.mil, api.loganalytics.azure.com": "login.partner.microsoftonline.cn, manage.protection.apps.mil, api.loganalytics.azure.com",
		"mail to Zoë.Quill@fabrikam.example":                                                       "mail to " + s.Name("mail", "zoë.quill@fabrikam.example"),
		"10.1.2.3, 8.8.8.8, fd00::17":                                                              s.Name("private-ip", "10.1.2.3") + ", " + s.Name("ip", "8.8.8.8") + ", " + s.Name("private-ip", "fd00::17"),
		`open C:\Users\quill\key.pem`:                                                              "open " + s.Name("path", `C:\Users\quill\key.pem`),
		"open /home/quill/key.pem: no such file":                                                   "open " + s.Name("path", "/home/quill/key.pem") + ": no such file",
		"the tenant 11111111-2222-3333-4444-555555555555":                                          "the tenant " + s.Name("guid", "11111111-2222-3333-4444-555555555555"),
		"Quill has it":                          s.Name("word", "quill") + " has it",
		"the number 123456, the number 1234567": "the number 123456, the number " + s.Name("word", "1234567"),
	} {
		if got := s.Text(in); got != want {
			t.Errorf("%q\n  became %q\n  want   %q", in, got, want)
		}
	}
	s.Always("authority", "CN=open network, O=key and vault")
	s.Always("person", "mark")
	s.Always("person", "reeve")
	for in, want := range map[string]string{
		"issued by CN=open network, O=key and vault here": "issued by " + s.Name("authority", "CN=open network, O=key and vault") + " here",
		"mark has marked it for reeve":                    s.Name("person", "mark") + " has " + s.Name("word", "marked") + " it for reeve",
		"of " + s.Name("host", "a.example"):               "of " + s.Name("host", "a.example"),
	} {
		if got := s.Text(in); got != want {
			t.Errorf("%q\n  became %q\n  want   %q", in, got, want)
		}
	}
	if a, b := s.Name("host", "A.example"), s.Name("host", "a.EXAMPLE"); a != b {
		t.Errorf("one host has two pseudonyms, %s and %s", a, b)
	}
	if a, b := s.Name("host", "a.example"), NewScrubber(nil, nil).Name("host", "a.example"); a == b {
		t.Error("two bundles have the same pseudonyms")
	}
}

// canaries are what must not be in a bundle, in no form.
var canaries = []string{
	"11111111-aaaa-4bbb-8ccc-222222222222", "Zoe Quillfeather", "Quillfeather", "quillfeather@fabrikam.example", "fabrikam",
	"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ", "hunter2!Hunter2", "Tr0ub4dor&3", "10.77.66.55",
	"fd12:3456:789a::1", "srv-quorn-07", "C:\\Users\\zquillfeather\\reeve.pem", "/home/zquillfeather/reeve.pem", "zquillfeather",
	"https://hooks.fabrikam.example/T0KEN/zzyzx", "zzyzx", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "CN=Fabrikam Root CA 7, O=Fabrikam Ltd", "Квилл", "鵞毛",
	"0A1B2C3D4E5F60718293A4B5C6D7E8F901234567", "AccountKey=Zm9vYmFyYmF6cXV4Cg==", "user:pa55@", "+49 151 23456789",
}

// TestNothingLeaks puts canaries wherever a text can be, in the company of other texts,
// and looks for them in the files of the bundle.
func TestNothingLeaks(t *testing.T) {
	type deep struct {
		Text  string
		List  []string
		Inner *deep
	}
	var all []deep
	for _, c := range canaries {
		for _, form := range forms(c) {
			for _, around := range []string{"%s", "reading the file %s: not found", "a=%s;b", "(%s)", `"%s"`, "see https://host.example/%s?x=%[1]s", "x%sy", "the\t%s\nof"} {
				text := fmt.Sprintf(around, form)
				all = append(all, deep{text, []string{text}, &deep{Text: text}})
			}
		}
	}
	results := []Result{}
	for _, c := range canaries {
		results = append(results, Result{Check: "tls", Of: c, Status: Failed, Seen: "issued by " + c, Remedy: "ask " + c, Who: c})
	}
	path := filepath.Join(t.TempDir(), "bundle.zip")
	s := NewScrubber([]string{"hunter2!Hunter2", "Tr0ub4dor&3"}, nil)
	parts := []Part{{"checks.json", "The checks.", results}, {"texts.json", "Texts.", all}}
	if err := WriteBundle(path, time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), s, parts); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || modes && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	var names []string
	for name, text := range unzip(t, path) {
		names = append(names, name)
		for _, c := range canaries {
			for _, form := range forms(c) {
				// Seven characters of a canary are too many, unless they are plain words.
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Errorf("%s shows %q", name, form)
				}
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON", name)
		}
	}
	slices.Sort(names)
	if want := []string{"README.txt", "checks.json", "texts.json"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	if err := WriteBundle(path, time.Now(), s, parts); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "already") {
		t.Errorf("a file that is there was replaced: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// forms are those in which a text may hide.
func forms(s string) []string {
	quoted, _ := json.Marshal(s)
	all := []string{s, strings.ToUpper(s), url.QueryEscape(s), strings.Trim(string(quoted), `"`), hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s)))}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		all = append(all, e.EncodeToString([]byte(s)))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func unzip(t *testing.T, path string) map[string]string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		files[f.Name] = string(text)
	}
	return files
}

// FuzzText: no text brings the scrubber down, and a canary in it does not come through.
func FuzzText(f *testing.F) {
	for _, c := range canaries {
		f.Add(c)
	}
	s := NewScrubber(nil, nil)
	f.Fuzz(func(t *testing.T, text string) {
		if got := s.Text(text + " Quillfeather " + text); strings.Contains(got, "Quillfeather") {
			t.Errorf("%q became %q", text, got)
		}
	})
}
