package keyvault

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// keyRest is what the answers about a key have besides the key or its address.
func (c *call) keyRest(v keyView) map[string]any {
	body := map[string]any{"attributes": c.attributesOf(v.version.Attributes), "tags": tagsOf(v.version.version)}
	if v.version.managed {
		body["managed"] = true
	}
	return body
}

func (c *call) keyBody(v keyView) map[string]any {
	body := c.keyRest(v)
	body["key"] = publicJWK(c.link("keys", v.name, v.version.ID), v.version.Key, v.version.Ops)
	return body
}

// keyItem is a key in a list.
func (c *call) keyItem(v keyView, versioned bool) map[string]any {
	body := c.keyRest(v)
	body["kid"] = c.link("keys", v.name)
	if versioned {
		body["kid"] = c.link("keys", v.name, v.version.ID)
	}
	return body
}

func (c *call) keyAnswer(v keyView, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(c.keyBody(v))
}

func listKeys(c *call) (answer, error) {
	return page(c, c.vault.keys(), func(v keyView) any { return c.keyItem(v, false) })
}

func listKeyVersions(c *call) (answer, error) {
	all, err := c.vault.keyVersions(c.name)
	if err != nil {
		return answer{}, err
	}
	return page(c, all, func(v keyView) any { return c.keyItem(v, true) })
}

func getKey(c *call) (answer, error) { return c.keyAnswer(c.vault.key(c.name, c.id)) }

func createKey(c *call) (answer, error) {
	var in keyCreation
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.keyAnswer(c.vault.createKey(c.r.Context(), c.name, in))
}

func importKey(c *call) (answer, error) {
	var in keyImport
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.keyAnswer(c.vault.importKey(c.name, in))
}

func updateKey(c *call) (answer, error) {
	var in keyChange
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.keyAnswer(c.vault.updateKey(c.name, c.id, in))
}

func rotateKey(c *call) (answer, error) {
	return c.keyAnswer(c.vault.rotate(c.r.Context(), c.name))
}

func (c *call) rotationAnswer(p rotationPolicy, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	p.ID = c.link("keys", c.name, "rotationpolicy")
	return ok(p)
}

func getRotation(c *call) (answer, error) { return c.rotationAnswer(c.vault.rotation(c.name)) }

func setRotation(c *call) (answer, error) {
	var in rotationPolicy
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.rotationAnswer(c.vault.setRotation(c.name, in))
}

// usable returns the key of the request for an operation, which is paid for by
// the size of the key.
func (c *call) usable(operation string) (keyView, error) {
	k, err := c.vault.usable(c.name, c.id, operation)
	if err != nil {
		return keyView{}, err
	}
	if more := keyCost(k.version.Key) - costTransaction; more > 0 {
		err = c.vault.charge(c.api.Cloud.Calm, "keys", more)
	}
	return k, err
}

// binary is a member in base64url without padding.
type binary []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *binary) UnmarshalText(text []byte) error {
	decoded, err := base64.RawURLEncoding.DecodeString(string(text))
	*b = decoded
	return err
}

func signWithKey(c *call) (answer, error) {
	var in struct {
		Alg   string `json:"alg"`
		Value binary `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	k, err := c.usable("sign")
	if err != nil {
		return answer{}, err
	}
	signature, err := sign(k.version.Key, in.Alg, in.Value)
	if err != nil {
		return answer{}, err
	}
	return c.resultAnswer(k, signature)
}

func verifyWithKey(c *call) (answer, error) {
	var in struct {
		Alg    string `json:"alg"`
		Digest binary `json:"digest"`
		Value  binary `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	k, err := c.usable("verify")
	if err != nil {
		return answer{}, err
	}
	valid, err := verify(k.version.Key, in.Alg, in.Digest, in.Value)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"value": valid})
}

// transformWithKey encrypts, decrypts, wraps or unwraps.
func transformWithKey(operation string, f func(privateKey, string, []byte) ([]byte, error)) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		var in struct {
			Alg   string `json:"alg"`
			Value binary `json:"value"`
			IV    string `json:"iv"`
			AAD   string `json:"aad"`
			Tag   string `json:"tag"`
		}
		if err := c.read(&in); err != nil {
			return answer{}, err
		}
		if in.IV+in.AAD+in.Tag != "" {
			return answer{}, badParameter("Properties iv, aad and tag are not for RSA keys.")
		}
		k, err := c.usable(operation)
		if err != nil {
			return answer{}, err
		}
		out, err := f(k.version.Key, in.Alg, in.Value)
		if err != nil {
			return answer{}, err
		}
		return c.resultAnswer(k, out)
	}
}

func (c *call) resultAnswer(k keyView, value []byte) (answer, error) {
	return ok(map[string]any{"kid": c.link("keys", k.name, k.version.ID), "value": origin.Base64URL(value)})
}

// mostRandom is the most random bytes that can be had at once, as documented.
const mostRandom = 128

func randomBytes(c *call) (answer, error) {
	var in struct {
		Count int `json:"count"`
	}
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if in.Count < 1 || in.Count > mostRandom {
		return answer{}, badParameter("Property count must be between 1 and %d.", mostRandom)
	}
	b := make([]byte, in.Count)
	rand.Read(b) // crypto/rand never fails.
	return ok(map[string]any{"value": origin.Base64URL(b)})
}

func (c *call) deletedKeyAnswer(k kept[keyView], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(c.withDates(c.keyBody(k.view), keyKind, k.view.name, k.deletion))
}

func deleteKey(c *call) (answer, error) {
	return c.deletedKeyAnswer(c.vault.deleteKey(c.name, c.settle()))
}

func getDeletedKey(c *call) (answer, error) {
	return c.deletedKeyAnswer(c.vault.deletedKey(c.name))
}

func listDeletedKeys(c *call) (answer, error) {
	return page(c, c.vault.deletedKeys(), func(k kept[keyView]) any {
		return c.withDates(c.keyItem(k.view, false), keyKind, k.view.name, k.deletion)
	})
}

func recoverKey(c *call) (answer, error) {
	return c.keyAnswer(c.vault.recoverKey(c.name, c.settle()))
}

func restoreKey(c *call) (answer, error) {
	text, err := c.readBackup()
	if err != nil {
		return answer{}, err
	}
	return c.keyAnswer(c.vault.restoreKey(text))
}
