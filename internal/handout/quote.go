package handout

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// quoteShell makes a word of a POSIX shell.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quotePowerShell makes a literal of PowerShell. It takes each of the typographic
// quotation marks for an apostrophe, and two of a kind for one that is meant.
func quotePowerShell(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteHCL makes a string of Terraform's language, in which nothing is a template.
func quoteHCL(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}

// quoteBicep makes a string of Bicep's, in which nothing is interpolated.
func quoteBicep(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "${", `\${`).Replace(s) + "'"
}

// escapeMarkdown makes text that Markdown shows as it is.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>()#+-.!|~&$\"'", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func base64Std(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// toJSON spells v for people.
func toJSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // of strings alone
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// access is a requiredResourceAccess of Graph.
type access struct {
	ResourceAppID  string           `json:"resourceAppId"`
	ResourceAccess []resourceAccess `json:"resourceAccess"`
}

type resourceAccess struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// application is what an application is made of.
type application struct {
	DisplayName    string   `json:"displayName"`
	SignInAudience string   `json:"signInAudience"`
	Access         []access `json:"requiredResourceAccess"`
}

func applicationBody(name string, apis []apiUses) application {
	a := application{DisplayName: name, SignInAudience: "AzureADMyOrg", Access: []access{}}
	for _, api := range apis {
		x := access{ResourceAppID: api.AppID}
		for _, u := range api.Uses {
			x.ResourceAccess = append(x.ResourceAccess, resourceAccess{u.ID, "Role"})
		}
		a.Access = append(a.Access, x)
	}
	return a
}

// keyCredential is a new one of Graph's.
type keyCredential struct {
	DisplayName string `json:"displayName"`
	Type        string `json:"type"`
	Usage       string `json:"usage"`
	Key         string `json:"key"`
	Start       string `json:"startDateTime"`
	End         string `json:"endDateTime"`
}
