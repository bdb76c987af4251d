package keyvault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

var curveOf = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// jwkOf returns a private key as a client imports it.
func jwkOf(t testing.TB, key crypto.Signer) object {
	t.Helper()
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return object{
			"kty": "RSA", "n": origin.Base64URL(key.N.Bytes()), "e": "AQAB", "d": origin.Base64URL(key.D.Bytes()),
			"p": origin.Base64URL(key.Primes[0].Bytes()), "q": origin.Base64URL(key.Primes[1].Bytes()),
		}
	case *ecdsa.PrivateKey:
		public, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secret, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(public) / 2
		return object{
			"kty": "EC", "crv": key.Curve.Params().Name, "d": origin.Base64URL(secret),
			"x": origin.Base64URL(public[1 : 1+half]), "y": origin.Base64URL(public[1+half:]),
		}
	}
	t.Fatal("not a key of this test")
	return nil
}

func TestSignAndVerify(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/keys/rsa", object{"key": jwkOf(t, rsaKey())})
	for _, curve := range []string{"P-256", "P-384", "P-521"} {
		w.must(t, 200, "POST", "/keys/"+curve+"/create", object{"kty": "EC", "crv": curve})
	}
	for _, test := range []struct {
		alg, key string
		hash     crypto.Hash
		new      func() hash.Hash
	}{
		{"RS256", "rsa", crypto.SHA256, sha256.New}, {"RS384", "rsa", crypto.SHA384, sha512.New384}, {"RS512", "rsa", crypto.SHA512, sha512.New},
		{"PS256", "rsa", crypto.SHA256, sha256.New}, {"PS384", "rsa", crypto.SHA384, sha512.New384}, {"PS512", "rsa", crypto.SHA512, sha512.New},
		{"ES256", "P-256", crypto.SHA256, sha256.New}, {"ES384", "P-384", crypto.SHA384, sha512.New384}, {"ES512", "P-521", crypto.SHA512, sha512.New},
	} {
		h := test.new()
		h.Write([]byte("what is signed"))
		digest := h.Sum(nil)
		path := "/keys/" + test.key
		a := w.must(t, 200, "POST", path+"/sign", object{"alg": test.alg, "value": origin.Base64URL(digest)})
		signature, err := base64.RawURLEncoding.DecodeString(a.string("value"))
		if err != nil {
			t.Fatal(err)
		}
		key := w.must(t, 200, "GET", path, nil)
		if kid := key.string("key", "kid"); a.string("kid") != kid || strings.Contains(key.text, `"d":`) {
			t.Errorf("%s: signed by %s, key %s", test.alg, a.string("kid"), key.text)
		}
		var valid bool
		switch public := rsaKey().PublicKey; test.alg[:2] {
		case "RS":
			valid = rsa.VerifyPKCS1v15(&public, test.hash, digest, signature) == nil
		case "PS":
			valid = rsa.VerifyPSS(&public, test.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		case "ES":
			coordinate := func(name string) []byte {
				b, err := base64.RawURLEncoding.DecodeString(key.string("key", name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			public, err := ecdsa.ParseUncompressedPublicKey(curveOf[test.key], slices.Concat([]byte{4}, coordinate("x"), coordinate("y")))
			if err != nil {
				t.Fatal(err)
			}
			half := len(signature) / 2
			valid = half == (public.Curve.Params().BitSize+7)/8 && ecdsa.Verify(public, digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
		}
		if !valid {
			t.Errorf("%s: the signature is wrong", test.alg)
		}
		verify := object{"alg": test.alg, "digest": origin.Base64URL(digest), "value": a.string("value")}
		if a := w.must(t, 200, "POST", path+"/verify", verify); a.at("value") != true {
			t.Errorf("%s: the vault refuses its own signature", test.alg)
		}
		digest[0] ^= 1
		verify["digest"] = origin.Base64URL(digest)
		if a := w.must(t, 200, "POST", path+"/verify", verify); a.at("value") != false {
			t.Errorf("%s: the vault takes a wrong signature", test.alg)
		}
		w.refused(t, 400, "BadParameter", "", "POST", path+"/sign", object{"alg": test.alg, "value": origin.Base64URL(digest[1:])})
	}
	for _, alg := range []string{"ES256", "HS256", "", "rs256"} {
		w.refused(t, 400, "BadParameter", "", "POST", "/keys/rsa/sign", object{"alg": alg, "value": origin.Base64URL(make([]byte, 32))})
	}
	w.refused(t, 400, "BadParameter", "", "POST", "/keys/rsa/sign", object{"alg": "RS256", "value": "+/=="})
	w.refused(t, 404, "KeyNotFound", "", "POST", "/keys/none/sign", object{"alg": "RS256", "value": ""})
}

func TestEncryptAndWrap(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/keys/rsa", object{"key": jwkOf(t, rsaKey())})
	for _, pair := range [][2]string{{"encrypt", "decrypt"}, {"wrapkey", "unwrapkey"}} {
		for _, alg := range []string{"RSA-OAEP", "RSA-OAEP-256", "RSA1_5"} {
			plain := origin.Base64URL([]byte("what is hidden"))
			sealed := w.must(t, 200, "POST", "/keys/rsa/"+pair[0], object{"alg": alg, "value": plain}).string("value")
			if got := w.must(t, 200, "POST", "/keys/rsa/"+pair[1], object{"alg": alg, "value": sealed}).string("value"); got != plain || sealed == plain {
				t.Errorf("%s and %s under %s: %s", pair[0], pair[1], alg, got)
			}
			w.refused(t, 400, "BadParameter", "", "POST", "/keys/rsa/"+pair[0], object{"alg": alg, "value": origin.Base64URL(make([]byte, 256))})
			w.refused(t, 400, "BadParameter", "", "POST", "/keys/rsa/"+pair[1], object{"alg": alg, "value": sealed[1:]})
		}
		w.refused(t, 400, "BadParameter", "", "POST", "/keys/rsa/"+pair[0], object{"alg": "A256GCM", "value": "AAAA"})
	}
}

func TestKeyThatMayNot(t *testing.T) {
	w := start(t)
	now := w.clock.Now().Unix()
	w.must(t, 200, "PUT", "/keys/k", object{"key": jwkOf(t, rsaKey()), "attributes": object{"nbf": now + 60, "exp": now + 120}})
	digest := object{"alg": "RS256", "value": origin.Base64URL(make([]byte, 32))}
	verify := object{"alg": "RS256", "digest": origin.Base64URL(make([]byte, 32)), "value": "AAAA"}
	sign := func(inner string) {
		t.Helper()
		w.refused(t, 403, "Forbidden", inner, "POST", "/keys/k/sign", digest)
		w.refused(t, 403, "Forbidden", inner, "POST", "/keys/k/encrypt", object{"alg": "RSA-OAEP", "value": "AAAA"})
		w.refused(t, 403, "Forbidden", inner, "POST", "/keys/k/wrapkey", object{"alg": "RSA-OAEP", "value": "AAAA"})
	}
	sign("KeyNotYetValid")
	w.must(t, 200, "POST", "/keys/k/verify", verify)
	w.clock.Add(90 * time.Second)
	w.must(t, 200, "POST", "/keys/k/sign", digest)
	w.clock.Add(time.Minute)
	sign("KeyExpired")
	w.must(t, 200, "POST", "/keys/k/verify", verify)
	w.must(t, 200, "PATCH", "/keys/k", object{"attributes": object{"enabled": false}})
	sign("KeyDisabled")
	w.must(t, 200, "GET", "/keys/k", nil)
	w.must(t, 200, "PATCH", "/keys/k", object{"attributes": object{"enabled": true, "exp": now + 9999}, "key_ops": []string{"verify"}})
	sign("KeyOperationForbidden")
}

func TestKeysThatAreRefused(t *testing.T) {
	w := start(t)
	for name, body := range map[string]object{
		"no type": {}, "type": {"kty": "DSA"}, "oct": {"kty": "oct"}, "hsm": {"kty": "EC-HSM"}, "size": {"kty": "RSA", "key_size": 1024},
		"curve": {"kty": "EC", "crv": "P-224"}, "ops": {"kty": "EC", "key_ops": []string{"encrypt"}}, "unknown": {"kty": "EC", "colour": 1},
		"exportable": {"kty": "EC", "attributes": object{"exportable": true}},
	} {
		if a := w.ask(t, "POST", "/keys/k/create", body); a.status != 400 || a.at("error", "code") != "BadParameter" {
			t.Errorf("creating, %s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 501, "NotImplemented", "", "POST", "/keys/k/create", object{"kty": "EC", "release_policy": object{}})
	for name, change := range map[string]object{
		"modulus": {"n": origin.Base64URL(make([]byte, 256))}, "exponent": {"e": "AA"}, "factor": {"p": "Aw"}, "padded": {"d": "AQ=="},
		"no factor": {"q": ""}, "oct": {"kty": "oct", "k": "AAAA"}, "ops": {"key_ops": []string{"fly"}},
	} {
		key := jwkOf(t, rsaKey())
		for member, value := range change {
			key[member] = value
		}
		if a := w.ask(t, "PUT", "/keys/k", object{"key": key}); a.status != 400 || a.at("error", "code") != "BadParameter" {
			t.Errorf("importing, %s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 400, "BadParameter", "", "PUT", "/keys/k", object{"key": jwkOf(t, rsaKey()), "Hsm": true})
	w.refused(t, 404, "KeyNotFound", "", "GET", "/keys/k", nil)
}

func TestRotation(t *testing.T) {
	w := start(t)
	w.must(t, 200, "POST", "/keys/k/create", object{"kty": "EC", "tags": object{"a": "b"}})
	if a := w.must(t, 200, "GET", "/keys/k/rotationpolicy", nil); !strings.Contains(a.text, "Notify") {
		t.Errorf("the default: %s", a.text)
	}
	policy := func(expiry, trigger, at, kind string) object {
		return object{"attributes": object{"expiryTime": expiry}, "lifetimeActions": []object{{"trigger": object{trigger: at}, "action": object{"type": kind}}}}
	}
	for _, bad := range []object{
		policy("P27D", "timeAfterCreate", "P10D", "Rotate"), policy("90", "timeAfterCreate", "P10D", "Rotate"),
		policy("P90D", "timeAfterCreate", "P6D", "Rotate"), policy("P90D", "timeAfterCreate", "P84D", "Rotate"),
		policy("P90D", "timeAfterCreate", "P10D", "Sing"), policy("P90D", "timeAfterCreate", "P10D", "Notify"),
		policy("", "timeBeforeExpiry", "P10D", "Rotate"), policy("P90D", "never", "P10D", "Rotate"),
	} {
		w.refused(t, 400, "BadParameter", "", "PUT", "/keys/k/rotationpolicy", bad)
	}
	w.must(t, 200, "PUT", "/keys/k/rotationpolicy", policy("P3M", "timeAfterCreate", "P1M", "Rotate"))
	before := w.must(t, 200, "GET", "/keys/k", nil)
	after := w.must(t, 200, "POST", "/keys/k/rotate", nil)
	if before.string("key", "x") == after.string("key", "x") || after.string("tags", "a") != "b" || after.at("attributes", "exp") != float64(w.clock.Now().AddDate(0, 0, 90).Unix()) {
		t.Errorf("rotated: %s", after.text)
	}
	if a := w.must(t, 200, "GET", "/keys/k/versions", nil); len(a.at("value").([]any)) != 2 {
		t.Errorf("versions: %s", a.text)
	}
}

func TestRandomBytes(t *testing.T) {
	w := start(t)
	b, err := base64.RawURLEncoding.DecodeString(w.must(t, 200, "POST", "/rng", object{"count": 128}).string("value"))
	if err != nil || len(b) != 128 {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	for _, n := range []int{-1, 0, 129} {
		w.refused(t, 400, "BadParameter", "", "POST", "/rng", object{"count": n})
	}
}
