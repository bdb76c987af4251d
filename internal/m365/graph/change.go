package graph

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/reeve365/reeve/internal/m365"
)

// ShownProof stands for the proof in a call that is shown and not sent.
const ShownProof = "<proof>"

// AddKey registers a certificate with an application. The proof is one of
// [KeyProof], by the pair of a certificate that the application has and that is
// valid. Graph chooses the key ID, so that a lost answer is looked up by
// [KeyCredential.IsFor]. Not every Graph refuses a certificate that is there already:
// look first.
func (c *Client) AddKey(ctx context.Context, objectID string, cert *x509.Certificate, proof string) (KeyCredential, error) {
	call := AddKeyCall(c.cloud, objectID, cert, proof)
	if err := checkID(call.Op, "object ID", objectID); err != nil {
		return KeyCredential{}, err
	}
	resp, err := c.do(ctx, call, needsRoll)
	if err != nil {
		return KeyCredential{}, err
	}
	var k KeyCredential
	if err := decode(call.Op, resp, &k); err != nil {
		return KeyCredential{}, err
	}
	if k.KeyID == "" {
		return KeyCredential{}, unexpected(call.Op, resp, fmt.Errorf("it names no key ID"))
	}
	return k, nil
}

// RemoveKey removes a key credential from an application, by a proof as for
// [Client.AddKey]. That it is not there is an [m365.ErrNotFound].
func (c *Client) RemoveKey(ctx context.Context, objectID, keyID, proof string) error {
	call := RemoveKeyCall(c.cloud, objectID, keyID, proof)
	if err := checkID(call.Op, "object ID", objectID); err != nil {
		return err
	}
	_, err := c.do(ctx, call, needsRoll)
	return err
}

// SetKeys replaces the complete list of an application's key credentials: what is not
// in it is gone. Those that were read go back as they are, and what was added between
// that reading and this call is lost, which only reading afterwards shows.
func (c *Client) SetKeys(ctx context.Context, objectID string, keys []KeyCredential) error {
	call, err := SetKeysCall(c.cloud, objectID, keys)
	if err != nil {
		return err
	}
	if err := checkID(call.Op, "object ID", objectID); err != nil {
		return err
	}
	_, err = c.do(ctx, call, needsWrite)
	return err
}

// AddKeyCall is the call of [Client.AddKey].
func AddKeyCall(cloud m365.Cloud, objectID string, cert *x509.Certificate, proof string) m365.Call {
	type key struct {
		Type  string `json:"type"`
		Usage string `json:"usage"`
		Key   string `json:"key"`
	}
	return change(cloud, fmt.Sprintf("adding a certificate to application %s", objectID), http.MethodPost, objectID, "/addKey", struct {
		Key      key     `json:"keyCredential"`
		Password *string `json:"passwordCredential"`
		Proof    string  `json:"proof"`
	}{
		Key:   key{TypeCertificate, UsageVerify, base64.StdEncoding.EncodeToString(cert.Raw)},
		Proof: proof,
	})
}

// RemoveKeyCall is the call of [Client.RemoveKey].
func RemoveKeyCall(cloud m365.Cloud, objectID, keyID, proof string) m365.Call {
	return change(cloud, fmt.Sprintf("removing key credential %s from application %s", keyID, objectID), http.MethodPost, objectID, "/removeKey", struct {
		KeyID string `json:"keyId"`
		Proof string `json:"proof"`
	}{keyID, proof})
}

// SetKeysCall is the call of [Client.SetKeys].
func SetKeysCall(cloud m365.Cloud, objectID string, keys []KeyCredential) (m365.Call, error) {
	op := fmt.Sprintf("setting the %d key credentials of application %s", len(keys), objectID)
	all := []any{}
	for _, k := range keys {
		sent, err := k.sent()
		if err != nil {
			return m365.Call{}, fmt.Errorf("%s: key credential %s: %w", op, k.KeyID, err)
		}
		all = append(all, sent)
	}
	return change(cloud, op, http.MethodPatch, objectID, "", struct {
		Keys []any `json:"keyCredentials"`
	}{all}), nil
}

// change is a call that changes an application: it is sent once.
func change(cloud m365.Cloud, op, method, objectID, action string, body any) m365.Call {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // as it is shown
	if err := encoder.Encode(body); err != nil {
		panic("graph: " + op + ": " + err.Error()) // It holds texts and JSON that was read.
	}
	return m365.Call{
		Op: op, Method: method, URL: graphURL(cloud, "applications/"+url.PathEscape(objectID)+action, nil),
		Body: bytes.TrimSpace(b.Bytes()), Once: true,
	}
}

func otherObject(op, id string) error {
	return fmt.Errorf("%s: Graph answered with %.60q, which is another one: see who answers for it", op, id)
}
