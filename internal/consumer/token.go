package consumer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"time"
)

// tokenPrefix lets people, and programs that look for leaked secrets, see what it is.
const tokenPrefix = "reeve_consumer_"

// NewToken makes a token of 256 random bits, and the hash by which it is known: of that
// many bits a plain SHA-256 gives nothing away.
func NewToken() (token, hash string) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

// admitted finds who has a token. All are compared, each in constant time, so that how
// long it takes tells nothing. The lock is held.
func (f *Feed) admitted(text string) (token, bool) {
	sum := sha256.Sum256([]byte(text))
	at := -1
	for i := range f.tokens {
		if subtle.ConstantTimeCompare(sum[:], f.tokens[i].hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return token{}, false
	}
	return f.tokens[at], true
}

// refusals bounds requests without a good token: so many at once, and one more each
// second. Those with a good token are never turned away because of others.
type refusals struct {
	spent  float64
	since  time.Time
	count  int // since the last line in the log
	logged time.Time
}

const refusalsAtOnce = 20

// allow reports whether one more may be looked into.
func (r *refusals) allow(now time.Time) bool {
	r.spent = max(0, r.spent-max(0, now.Sub(r.since).Seconds()))
	r.since = now
	if r.spent >= refusalsAtOnce {
		return false
	}
	r.spent++
	return true
}

// tell counts a refusal, and says how many there were when it is time for a line in the
// log; else zero.
func (r *refusals) tell(now time.Time) int {
	r.count++
	if now.Sub(r.logged) < time.Minute {
		return 0
	}
	n := r.count
	r.count, r.logged = 0, now
	return n
}
