//go:build !race

package pki_test

const raceFactor = 1
