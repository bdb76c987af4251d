// Package interop holds the files that package pki writes against the programs of
// others that are to open them, and what others write against package pki. It is
// tests alone.
//
// A program's word that it opened a file is not enough: it gives out the
// certificate, and the private key or a signature made with it, and the test
// compares them with what was written. Each program must also refuse a wrong
// password.
//
// The programs are used as they are published. ./test installs what is missing:
// Debian's packages, and what testdata/node/package.json names from the npm
// registry. No test installs anything, and without a program its tests are
// skipped.
//
// docs/formats.md has the tables of who opens what. TestTable keeps them true, as
// far as the programs are here. This writes them, and for that all must be here:
//
//	go test ./internal/pki/interop -run Table -update
package interop
