package m365

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// stuckKey does not sign before it is let go.
type stuckKey struct {
	crypto.Signer
	release chan struct{}
}

func (k stuckKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	<-k.release
	return nil, errors.New("too late")
}

func TestSigningIsBounded(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		stuck := stuckKey{key, make(chan struct{})}
		pair := pki.Pair{Certificate: certificate, Key: stuck}
		a := pki.Assertion{Algorithm: pki.PS256, Audience: "https://login", ClientID: "c", ID: "1", NotBefore: time.Now(), Expires: time.Now().Add(time.Minute)}

		start := time.Now()
		_, err := signWithin(t.Context(), signTimeout, pair, a)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != signTimeout || !strings.Contains(err.Error(), pki.SHA1(certificate)) {
			t.Errorf("got %v after %s", err, took)
		}
		if !isPassing(err) {
			t.Error("a key that was slow once counts as useless")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := signWithin(ctx, signTimeout, pair, a); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		close(stuck.release) // after which the bubble sees that nothing is left running
	})
}
