package entra

import (
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/emulator/token"
)

// Refusals returns the status and the OAuth error of every AADSTS number.
func Refusals() map[int]string {
	all := map[int]string{}
	for code, r := range refusals {
		all[code] = fmt.Sprintf("%d %s", r.status, r.name)
	}
	return all
}

// Lifetime is how long the next token would live.
func (e *API) Lifetime(long bool) time.Duration { return e.lifetime(long) }

// KeyIdentifier and CertificateChain read the header of an assertion.
func KeyIdentifier(header token.Members) ([]byte, bool, error) { return keyIdentifier(header) }

// CertificateChain returns how many certificates a header brings along.
func CertificateChain(header token.Members) (int, error) {
	chain, err := certificateChain(header)
	return len(chain), err
}
