// Package internal holds reeve's rooms. This test is the statement of who may
// import whom: change the table when the design changes, never to make a build
// pass.
package internal

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/reeve365/reeve/"

// mayImport names, for every package below internal, the packages of ours that
// it may import. Tests may import the emulator besides.
var mayImport = map[string][]string{
	"pki":                {"pki/pkcs12"},
	"pki/pkcs12":         {},
	"emulator/origin":    {},
	"emulator/token":     {"emulator/origin"},
	"emulator/directory": {},
	"emulator/keyvault":  {"emulator/origin", "emulator/token", "emulator/directory"},
	"emulator/tenant":    {"emulator/directory", "emulator/keyvault"},
	"emulator/entra":     {"emulator/origin", "emulator/token", "emulator/directory"},
	"emulator/graph":     {"emulator/origin", "emulator/token", "emulator/directory"},
	"emulator/activity":  {"emulator/origin", "emulator/token", "emulator/tenant"},
	"emulator/logs":      {"emulator/origin", "emulator/token", "emulator/directory"},
	"emulator/resources": {"emulator/origin", "emulator/token", "emulator/directory", "emulator/keyvault"},
	"emulator": {
		"emulator/activity", "emulator/directory", "emulator/entra", "emulator/graph", "emulator/keyvault",
		"emulator/logs", "emulator/origin", "emulator/resources", "emulator/tenant", "emulator/token",
	},
	"emulator/emulatortest": {"emulator", "emulator/tenant"},
	"emulator/clients":      {"emulator", "emulator/directory", "emulator/emulatortest", "emulator/origin", "emulator/tenant"},
	"m365":                  {"pki"},
	"m365/activity":         {"m365", "pki"},
	"pki/interop":           {"pki", "pki/pkcs12"},
	"certstore":             {"pki", "m365"},
	"m365/graph":            {"m365", "pki"},
	"m365/resources":        {"m365"},
	"check":                 {"certstore", "m365", "m365/activity", "m365/graph", "permission", "pki"},
	"credential":            {"pki"},
	"permission":            {},
	"handout":               {"permission", "pki"},
	"registration":          {"permission", "m365", "m365/graph", "m365/resources"},
	"sample":                {"m365", "pki"},
	"doctor":                {"m365", "permission"},
	"coverage":              {},
	"store":                 {"coverage", "credential"},
	"store/storetest":       {},
	"notify":                {"store"},
	"consumer":              {"credential", "pki", "store"},
	"rotate":                {"certstore", "credential", "m365", "m365/graph", "notify", "pki", "store"},
	"ingest":                {"store"},
	"feed":                  {"ingest", "store", "m365", "m365/activity"},
	"web":                   {"coverage", "credential", "ingest", "notify", "store"},
	"config":                {},
	"app": {
		"pki", "pki/pkcs12", "emulator", "emulator/origin", "emulator/tenant", "m365", "m365/activity", "m365/graph", "certstore", "consumer", "credential", "permission", "registration", "handout", "rotate", "notify", "store", "ingest", "feed", "web", "config", "sample", "check", "doctor", "m365/resources", "coverage",
	},
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if d.IsDir() || !strings.HasSuffix(path, ".go") || pkg == "." {
			return nil
		}
		test := strings.HasSuffix(path, "_test.go")
		allowed, ok := mayImport[pkg]
		if !ok {
			t.Errorf("%s: package %s has no row in the table", path, pkg)
			return nil
		}
		if !test {
			seen[pkg] = true
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			ours, ok := strings.CutPrefix(name, module+"internal/")
			switch {
			case !ok && strings.HasPrefix(name, module):
				t.Errorf("%s imports %s: nothing below internal imports a command", path, name)
			case !ok, ours == pkg, slices.Contains(allowed, ours):
			case test && (ours == "emulator" || strings.HasPrefix(ours, "emulator/") || ours == "store/storetest"):
			case test && strings.HasPrefix(pkg, ours+"/"), test && ours == "pki", test && pkg == "feed" && ours == "coverage":
			default:
				t.Errorf("%s: %s may not import %s", path, pkg, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("the table has a row for %s, which does not exist", pkg)
		}
	}
}
