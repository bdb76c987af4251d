// Package clients holds the emulated tenant against clients that others wrote:
// the Azure SDKs for Go, JavaScript and Python, the Microsoft Authentication
// Libraries, the Azure CLI, the CLI for Microsoft 365 and curl. They are used
// as they are published, over TLS, each told where the emulated tenant is by
// its own settings. The package is tests alone.
//
// A family of clients has a test file here, and its programs in testdata: small
// programs that do what an administrator would and print a line of JSON for
// each step,
//
//	{"step": "create an application", "ok": true, "values": {"id": "…"}}
//
// and at last the step "end". A client's word that it succeeded is not enough:
// the programs and the tests look at what came of it.
//
// # What has to be installed
//
// ./test installs what is missing: azure-cli, python3-azure and python3-msal
// from Debian's archive, and what testdata/*/package.json name from the npm
// registry, exactly as the lock files beside them say. Node.js 20 with npm must
// be there. No test installs anything; a family whose clients are missing is
// skipped.
//
// The npm packages go to reeve-test/clients-HASH below the user's cache
// directory, where HASH is the beginning of the SHA-256 of the lock file, so that
// other versions go to another place. To change a version, change package.json
// and write the lock file anew:
//
//	npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts
//
// # Pointing a client at the emulated tenant
//
// The Azure SDKs take addresses: an authority host, a vault URL, an endpoint.
// See the programs. They must be told not to ask Microsoft whether the
// authority exists (instance discovery), and not to insist that a vault's
// address is below vault.azure.net (challenge verification).
//
// The command lines have Microsoft's hosts built in. They come through the
// emulator's proxy, which maps those hosts and refuses all others:
// HTTPS_PROXY=http://127.0.0.1:PORT. So can the SDKs, with nothing else told to
// them; see public_cloud in testdata. Trust is Node's NODE_EXTRA_CA_CERTS and
// Python's REQUESTS_CA_BUNDLE.
//
// # Who exercised what
//
// docs/emulator.md has a table of all operations and of the families of clients
// that exercised each. The test keeps it true, as far as the families are here.
// This writes it, and for that all of them must be here:
//
//	go test ./internal/emulator/clients -update
package clients
