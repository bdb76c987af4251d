//go:build race

package m365_test

// raceFactor is how much longer a request may take under the race detector, which
// makes signing and TLS slow and the processors busy.
const raceFactor = 10
