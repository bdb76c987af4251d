package pki

import "encoding/json"

// readJSON reads JSON: a text that was printed as JSON, a secret or a certificate as
// the Azure command line shows it, or key credentials as Graph has them.
func (r *reader) readJSON(text string, wrapping int) error {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return &Problem{"the input is JSON that is cut off or damaged", "get a new copy of it"}
	}
	if s, ok := v.(string); ok {
		return r.read([]byte(s), wrapping+1)
	}
	if o, ok := v.(map[string]any); ok {
		switch {
		case o["kty"] != nil, o["keys"] != nil:
			return &Problem{"the input is a JSON web key (JWK), which is no certificate with its key", "give the PFX or PEM file that was made together with the key"}
		case o["error"] != nil:
			return &Problem{"the input is an error that a service answered, not a certificate", "see what the error says, and ask the service again"}
		}
		if value, ok := o["value"].(string); ok {
			return r.read([]byte(value), wrapping+1)
		}
		if cer, ok := o["cer"].(string); ok { // the public half, as az keyvault certificate show prints it
			return r.read([]byte(cer), wrapping+1)
		}
	}
	r.Format = FormatGraphKey
	seen := false
	for _, c := range keyCredentials(v) {
		_, hasID := c["keyId"]
		_, hasKey := c["key"]
		seen = seen || hasID || hasKey
		key, _ := c["key"].(string)
		if key == "" {
			continue
		}
		if err := r.read([]byte(key), wrapping+1); err != nil {
			return err
		}
	}
	r.Base64 = false // that is a matter of the form
	switch {
	case len(r.Certificates)+len(r.Keys) > 0:
		return nil
	case seen:
		return &Problem{"the key credential is without its certificate: its key is null", "ask Graph for the one application or service principal with $select=keyCredentials; lists never show the key"}
	}
	return &Problem{"the input is JSON, and neither a key credential of Graph nor a secret or certificate of Key Vault", "give the PFX or PEM file that was made together with the key"}
}

// keyCredentials finds the objects that may be key credentials: the one, those of a
// list, or those of an application.
func keyCredentials(v any) []map[string]any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range []string{"keyCredentials", "value"} {
			if list, ok := v[name].([]any); ok {
				return keyCredentials(list)
			}
		}
		if one, ok := v["keyCredential"].(map[string]any); ok {
			return []map[string]any{one}
		}
		return []map[string]any{v}
	case []any:
		var all []map[string]any
		for _, e := range v {
			if o, ok := e.(map[string]any); ok {
				all = append(all, o)
			}
		}
		return all
	}
	return nil
}
