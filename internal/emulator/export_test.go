package emulator

import (
	"log/slog"
	"net/http"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// NewProxy returns a proxy to hosts.
func NewProxy(hosts *origin.Hosts) http.Handler {
	return newProxy(hosts, slog.New(slog.DiscardHandler), &calls{})
}

// ProxyTarget returns where a proxy to hosts leads for a host and port.
func ProxyTarget(hosts *origin.Hosts, hostPort string) (address string, ok bool) {
	return (&proxy{hosts: hosts}).target(hostPort)
}

// IdentityPath is where the managed identity endpoint is.
const IdentityPath = identityPath

// IdentityHeader returns the secret of the managed identity endpoint.
func (e *Emulator) IdentityHeader() string { return e.kept.IdentityHeader }

// ParseState reads the text of a state file.
var ParseState = parseState

// MostUnknown is how many calls of what is not emulated are told apart.
const MostUnknown = mostUnknown

// ControlRoutes returns what the control API can be asked, each with what it
// does.
func ControlRoutes() (all [][2]string) {
	for _, r := range controlRoutes() {
		all = append(all, [2]string{r.request, r.does})
	}
	return all
}

// Admit returns a handler as the emulator serves it.
func (e *Emulator) Admit(h http.Handler) http.Handler { return e.admit(h) }
