package keyvault

import (
	"encoding/json"
	"time"
)

// ReadPair, ReadSubject, ReadPolicy and ReadJWK give the parsers of what clients
// send to the tests.
func ReadPair(value, password string) error {
	_, err := parsePair(value, password)
	return err
}

func ReadSubject(s string) ([]byte, error) { return parseSubject(s) }

// ReadPolicy checks a policy, and makes what is made under it when it is taken.
func ReadPolicy(text []byte, now time.Time, key privateKey) error {
	var p policy
	if err := json.Unmarshal(text, &p); err != nil {
		return nil
	}
	full := policy{}.with(&p).complete(now)
	if full.check() != nil {
		return nil
	}
	if _, err := signingRequest(full, key); err != nil {
		return err
	}
	_, err := full.sign(key, now, nil, privateKey{})
	return err
}

// ReadJWK imports a key and returns its public part again.
func ReadJWK(text []byte) (n, x string, err error) {
	var j jwk
	if err := json.Unmarshal(text, &j); err != nil {
		return "", "", err
	}
	key, err := j.private()
	if err != nil {
		return "", "", err
	}
	again := publicJWK("", key, nil)
	return again.N, again.X, nil
}

// Private makes a key what the vault keeps.
var Private = checkKey

// Operations are all that is served.
func Operations() int { return len(operations) }
