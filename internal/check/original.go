package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/certstore"
)

// originalName is what the original engine calls its certificate, in the vault and, after
// CN=, in the subject. It cannot be configured there.
const originalName = "O365AdvancedAnalytics"

// OriginalSettings are the application settings of the original engine. A secret among
// them is never shown.
type OriginalSettings struct {
	values map[string]string // by the name in lower case
}

// ParseOriginal reads settings: JSON as App Service exports it ([{"name", "value"}]), an
// object of names and values, or lines of NAME=VALUE.
func ParseOriginal(data []byte) (*OriginalSettings, error) {
	s := &OriginalSettings{map[string]string{}}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	var list []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	}
	var object map[string]any
	switch {
	case len(data) == 0:
		return nil, errors.New("there is no setting in it")
	case data[0] == '[':
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, errors.New(`it is no list of settings: want [{"name": "…", "value": "…"}], as App Service > Configuration > Advanced edit shows it`)
		}
		for _, e := range list {
			s.set(e.Name, e.Value)
		}
	case data[0] == '{':
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, errors.New(`it is no object of settings: want {"NAME": "VALUE"}`)
		}
		if inner, ok := object["Values"].(map[string]any); ok {
			object = inner
		}
		for name, value := range object {
			s.set(name, value)
		}
	default:
		for i, line := range strings.Split(string(data), "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if err := s.Set(strings.TrimPrefix(line, "export ")); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		}
	}
	if len(s.values) == 0 {
		return nil, errors.New("there is no setting in it")
	}
	return s, nil
}

// Set adds a setting, as NAME=VALUE. Its errors do not quote the value.
func (s *OriginalSettings) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return errors.New("a setting is NAME=VALUE")
	}
	value = strings.TrimSpace(value)
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	s.set(name, value)
	return nil
}

func (s *OriginalSettings) set(name string, value any) {
	if s.values == nil {
		s.values = map[string]string{}
	}
	if value == nil {
		value = ""
	}
	s.values[strings.ToLower(name)] = strings.TrimSpace(fmt.Sprint(value))
}

func (s *OriginalSettings) get(name string) string { return s.values[strings.ToLower(name)] }

// String names the settings without their values.
func (s *OriginalSettings) String() string {
	return strings.Join(slices.Sorted(maps.Keys(s.values)), ", ")
}

// Format prints the names whatever the verb.
func (s *OriginalSettings) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText keeps the values out of JSON and structured logs.
func (s *OriginalSettings) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const whoSets = "somebody who may change the App Service's settings (Website Contributor); the restart that follows is needed"

// judgeOriginal says what the settings mean for the original engine.
func (c *certificateCheck) judgeOriginal() {
	s := c.o.Original
	c.judgeNames()

	use, secret := s.get("UseClientCertificate"), s.get("ClientSecret")
	byCertificate := strings.EqualFold(use, "true")
	switch {
	case byCertificate:
		c.say("UseClientCertificate", OK, "true: the importers sign in with the certificate", nil)
	case secret == "":
		c.wrong("UseClientCertificate", shownOr(use), Finding{Cause: "it is not true, and there is no ClientSecret: the original cannot sign in", Remedy: "set UseClientCertificate to true", Who: whoSets})
	default:
		c.wrong("UseClientCertificate", shownOr(use), Finding{Cause: "it is not true, so that the original signs in with ClientSecret, whatever lies in the vault", Remedy: "set UseClientCertificate to true", Who: whoSets})
	}

	switch {
	case secret == "":
		f := Finding{Cause: "the importers need none; the original compares notifications of calls with this secret, and without it takes everybody's",
			Remedy: "switch the import of calls off there (ImportJobSettings), or keep its webhook from the public network", Who: whoSets}
		c.say("ClientSecret", Note, "not set", &f)
	case certstore.IsUnresolved(secret):
		c.wrong("ClientSecret", "a Key Vault reference", Finding{Cause: "App Service has not resolved the reference, unless the settings were exported", Remedy: "look at the setting's status in the portal; with UseClientCertificate remove it", Who: whoSets})
	case byCertificate:
		c.say("ClientSecret", Note, "set", &Finding{Cause: "the importers ignore it. The original's web sign-in and its subscription to calls use it still, and an upgrade of the original brings it back",
			Remedy: "remove it, and the secret at Entra ID, if you use neither of these; it ends by itself one day", Who: whoSets})
	default:
		c.say("ClientSecret", Note, "set", &Finding{Cause: "it is what the original signs in with", Remedy: "remove it once UseClientCertificate is true", Who: whoSets})
	}

	if profile := s.get("WEBSITE_LOAD_USER_PROFILE"); profile == "1" {
		c.say("WEBSITE_LOAD_USER_PROFILE", OK, "1: App Service can open certificates", nil)
	} else {
		c.wrong("WEBSITE_LOAD_USER_PROFILE", shownOr(profile), Finding{
			Cause: "without 1 a program on App Service has no user profile, and the original cannot open the certificate (\"The system cannot find the file specified\")", Remedy: "set it to 1", Who: whoSets})
	}

	c.same("KeyVaultUrl", s.get("KeyVaultUrl"), c.vaultURL(), byCertificate)
	c.same("TenantGUID", s.get("TenantGUID"), c.o.TenantID, false)
	c.same("ClientID", s.get("ClientID"), c.o.ClientID, false)
}

func (c *certificateCheck) vaultURL() string {
	if c.o.Vault == nil {
		return ""
	}
	return c.o.Vault.URL()
}

// judgeNames compares the names that the original insists on.
func (c *certificateCheck) judgeNames() {
	if c.o.Vault != nil {
		if strings.EqualFold(c.o.Name, originalName) {
			c.say("name", OK, c.o.Name, nil)
		} else {
			c.wrong("name", c.o.Name, Finding{Cause: "the original looks for " + originalName + " alone", Remedy: "import the certificate under that name", Who: whoImports})
		}
	}
	certificate := c.certificate()
	switch {
	case certificate == nil:
		c.skip("subject", "no certificate could be read")
	case certificate.Subject.CommonName == originalName:
		c.say("subject", OK, certificate.Subject.String(), nil)
	default:
		c.wrong("subject", certificate.Subject.String(), Finding{Cause: "the original wants CN=" + originalName, Remedy: "make the certificate with that subject", Who: whoImports})
	}
}

// same compares a setting with what is checked.
func (c *certificateCheck) same(name, set, want string, needed bool) {
	plain := func(s string) string { return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "/")) }
	switch {
	case set == "" && needed:
		c.wrong(name, "not set", Finding{Cause: "the original does not know where the certificate is", Remedy: "set " + name, Who: whoSets})
	case set == "" || want == "":
		c.skip(name, "there is nothing to compare")
	case plain(set) == plain(want):
		c.say(name, OK, set, nil)
	default:
		c.wrong(name, set, Finding{Cause: "it is another than the one that was checked, " + want, Remedy: "compare the two: the original uses its own setting", Who: whoSets})
	}
}

// shownOr quotes a setting that is no secret.
func shownOr(value string) string {
	if value == "" {
		return "not set"
	}
	return fmt.Sprintf("%.40q", value)
}
