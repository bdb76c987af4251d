package config

import (
	"fmt"
	"strings"
)

// Reference returns the page about all settings, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, f := range fields() {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", f.key, docs()[f.doc])
		fmt.Fprintf(&b, "- Flag `--%s`, variable `%s`%s\n", f.flag(), f.env(), f.secretFile())
		fmt.Fprintf(&b, "- Type: %s%s\n", f.typeName(), f.bounds())
		if d := f.tag.Get("default"); d != "" {
			fmt.Fprintf(&b, "- Default: `%s`\n", d)
		}
		if e := f.tag.Get("example"); e != "" {
			fmt.Fprintf(&b, "- Example: `%s`\n", e)
		}
	}
	b.WriteString("\n## Names of the Azure SDK\n\n| variable | setting |\n|---|---|\n")
	for _, n := range azureNames {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", n.name, n.key)
	}
	b.WriteString(referenceOriginal)
	for _, n := range originalNames {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", n.name, n.key)
	}
	b.WriteString(referenceTail)
	return b.String()
}

func (f field) secretFile() string {
	if !f.secret() {
		return ""
	}
	return fmt.Sprintf(", or `%s_FILE` with the path of a file that holds it", f.env())
}

// bounds says what the value can be.
func (f field) bounds() string {
	if values := f.values(); values != nil {
		return ": `" + strings.Join(values, "`, `") + "`"
	}
	if least := f.tag.Get("min"); least != "" {
		return fmt.Sprintf(", from %s to %s", least, f.tag.Get("max"))
	}
	return ""
}

const referenceHead = `# Configuration

<!-- Written by internal/config from the comments in config.go: change those. -->

Every setting is a key in a YAML file, a flag and an environment variable. The name of a
flag or variable follows from the key: ` + "`feeds.audit.days`, `--feeds-audit-days`, `REEVE_FEEDS_AUDIT_DAYS`" + `.

The strongest wins: flag, ` + "`REEVE_…`" + ` variable, file, variable of the Azure SDK, setting of the
original engine, default. ` + "`reeve config show`" + ` prints every setting with where it comes from.
The file is named by ` + "`--config` or `REEVE_CONFIG`" + `. An unknown key or ` + "`REEVE_…`" + ` variable is an
error, and so is a value that cannot be used; all errors are reported at once. An empty
variable counts as not set. In a flag or variable, the elements of a list are separated by
commas; in the file, each is a line that begins with ` + "`- `" + `.

A secret can also be kept in a file of its own, as Docker, Kubernetes and systemd do, which
the variable with ` + "`_FILE`" + ` after its name points to. One line end after it is removed.

## Settings
`

const referenceOriginal = `
They count only where reeve's own names say nothing; a host to sign in at counts only where
no ` + "`cloud`" + ` is chosen. The method of signing in is not
guessed from them: a secret or a token file is used when ` + "`auth.method`" + ` says so.

## Settings of the original engine

Its application settings are understood where they reach reeve as environment variables, as
they do on App Service. Their names are compared ignoring case.

| setting | here |
|---|---|
`

const referenceTail = `
` + "`UseClientCertificate=true`" + ` signs in with the certificate ` + "`O365AdvancedAnalytics`" + ` of the Key Vault in
` + "`KeyVaultUrl`, and `ClientSecret`" + ` is ignored. Without it, and without a certificate or method from
elsewhere, ` + "`ClientSecret`" + ` is used, and warned about. ` + "`ContentTypesListAsString`" + ` has semicolons
between its elements. ` + "`DaysBeforeNowToDownload`" + ` is brought within 1 and 7. In
` + "`ImportJobSettings`, `ActivityLog=False`" + ` switches the audit feed off; a name or value that is not
known is an error here, and counts as ` + "`True`" + ` there. ` + "`WEBSITE_LOAD_USER_PROFILE`" + ` has no meaning.
`

// Sample returns a configuration file in which every setting is explained and
// commented out, so that it means the defaults: text behind "# " explains,
// "#key:" is to be uncommented.
func Sample() string {
	var b strings.Builder
	b.WriteString("# Configuration of reeve. Remove the # before a key to set it.\n")
	var section []string
	for _, f := range fields() {
		parts := strings.Split(f.key, ".")
		for i, part := range parts[:len(parts)-1] {
			if i >= len(section) || section[i] != part {
				fmt.Fprintf(&b, "\n%s%s:\n", strings.Repeat("  ", i), part)
			}
		}
		section = parts[:len(parts)-1]
		indent := strings.Repeat("  ", len(section))
		b.WriteString("\n" + wrap(docs()[f.doc]+f.choices(), indent+"# ", 78))
		b.WriteString(f.sample(indent, parts[len(parts)-1]))
	}
	return b.String()
}

func (f field) choices() string {
	switch values := f.values(); {
	case values != nil && f.list():
		return " Any of: " + strings.Join(values, ", ") + "."
	case values != nil:
		return " One of: " + strings.Join(values, ", ") + "."
	case f.tag.Get("min") != "":
		return fmt.Sprintf(" From %s to %s.", f.tag.Get("min"), f.tag.Get("max"))
	}
	return ""
}

// sample returns the commented-out lines of a setting.
func (f field) sample(indent, name string) string {
	value := f.tag.Get("default")
	if value == "" {
		value = f.tag.Get("example")
	}
	if f.secret() {
		value = `"in quotes"`
	}
	if !f.list() {
		return fmt.Sprintf("%s#%s: %s\n", indent, name, value)
	}
	s := fmt.Sprintf("%s#%s:\n", indent, name)
	for _, e := range splitList(value, ",") {
		s += fmt.Sprintf("%s#  - %s\n", indent, e)
	}
	return s
}

// wrap breaks text at spaces into lines of at most width, each after prefix.
func wrap(text, prefix string, width int) string {
	var b strings.Builder
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if line != prefix && len(line)+len(word) >= width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
