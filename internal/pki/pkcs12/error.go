package pkcs12

import (
	"encoding/asn1"
	"fmt"
)

// Error says why a file cannot be read and what to do about it. It holds no byte of
// a key and no password.
type Error struct {
	Cause    string // what is wrong
	Remedy   string // what to do
	Password bool   // the password is missing or wrong

	// of stands before what the error is about, which inside this package is not in
	// the cause yet.
	of string
	// damage is whether only damage can have led to it.
	damage bool
}

func (e *Error) Error() string { return e.Cause + ": " + e.Remedy }

const (
	again   = "get a new copy of the file, or export it again"
	convert = "convert it with the program that wrote it, to AES-256 or 3DES, or by openssl 3 or newer (openssl pkcs12 -in FILE.pfx -out FILE.pem -nodes)"
)

// about puts what an error is about into its cause.
func about(subject string, err error) error {
	e, ok := err.(*Error)
	if !ok {
		e = damaged("it is not well-formed")
	}
	return &Error{Cause: e.of + subject + " " + e.Cause, Remedy: e.Remedy, Password: e.Password}
}

// damaged is about a file that is broken, however right the password may be.
func damaged(cause string) *Error {
	return &Error{Cause: "cannot be read: " + cause, Remedy: again, damage: true}
}

// wrongPassword is about a file that the password does not open.
func wrongPassword(password, doubt string) *Error {
	if password == "" {
		return &Error{Cause: "has a password and none was given" + doubt, Remedy: "give its password", Password: true}
	}
	return &Error{of: "the password of ", Cause: "is wrong" + doubt, Remedy: "give the password that it was made with; mind upper and lower case, and blanks at its end", Password: true}
}

// tooMuch is about a file that asks for absurd work.
func tooMuch(what string) *Error {
	return &Error{
		Cause:  fmt.Sprintf("asks for too much work to derive its keys from the password (%s; about %d rounds of HMAC-SHA-256 in all of a file are done here)", what, maxWork/2),
		Remedy: "export it again with the usual number of rounds",
	}
}

func unknown(what string, oid asn1.ObjectIdentifier) *Error {
	name := oid.String()
	if known, ok := names[name]; ok {
		name = known
	}
	if len(name) > 60 {
		name = name[:60] + "…"
	}
	return &Error{Cause: fmt.Sprintf("is protected in a way that cannot be read: its %s is %s", what, name), Remedy: convert}
}

// names are ways of protection that are not read.
var names = map[string]string{
	"1.2.392.200011.61.1.1.1.2":  "Camellia-128-CBC",
	"1.2.392.200011.61.1.1.1.3":  "Camellia-192-CBC",
	"1.2.392.200011.61.1.1.1.4":  "Camellia-256-CBC",
	"1.2.410.200046.1.1.2":       "ARIA-128-CBC",
	"1.2.410.200046.1.1.7":       "ARIA-192-CBC",
	"1.2.410.200046.1.1.12":      "ARIA-256-CBC",
	"1.2.410.200004.1.4":         "SEED-CBC",
	"1.2.410.200004.1.15":        "SEED-CBC with SHA-1",
	"1.2.156.10197.1.104.2":      "SM4-CBC",
	"1.2.156.10197.1.401":        "SM3",
	"1.2.156.10197.1.401.2":      "HMAC-SM3",
	"1.2.643.2.2.21":             "GOST 28147-89",
	"1.2.643.2.2.9":              "GOST R 34.11-94",
	"1.2.643.7.1.1.2.2":          "GOST R 34.11-2012 (256 bits)",
	"1.2.643.7.1.1.2.3":          "GOST R 34.11-2012 (512 bits)",
	"1.2.840.113549.1.5.1":       "DES-CBC with MD2",
	"1.2.840.113549.1.5.4":       "RC2-CBC with MD2",
	"1.2.840.113549.3.4":         "RC4",
	"1.2.840.113533.7.66.10":     "CAST5-CBC",
	"1.3.6.1.4.1.3029.1.2":       "Blowfish-CBC",
	"1.3.6.1.4.1.188.7.1.1.2":    "IDEA-CBC",
	"1.3.36.3.2.1":               "RIPEMD-160",
	"1.2.840.113549.2.2":         "MD2",
	"1.2.840.113549.2.4":         "MD4",
	"1.3.6.1.4.1.1722.12.2.1.16": "BLAKE2b-512",
	"1.3.6.1.4.1.1722.12.2.2.8":  "BLAKE2s-256",
}
