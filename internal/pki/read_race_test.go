//go:build race

package pki_test

// raceFactor is how much slower the race detector makes the hash functions.
const raceFactor = 12
