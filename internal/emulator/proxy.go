package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

const (
	mostTunnels = 256
	tunnelIdle  = 5 * time.Minute // without a byte in a direction that is open
	dialWait    = 5 * time.Second
)

// proxy is an HTTP proxy for clients that have the hosts of Microsoft's cloud
// built in. It opens tunnels to the emulated APIs, under the names of the cloud
// and under their own addresses, and to nothing else: a client that knows no
// other way out cannot reach the Internet by mistake.
type proxy struct {
	hosts   *origin.Hosts
	log     *slog.Logger
	calls   *calls
	tunnels chan struct{} // holds one for each tunnel
}

func newProxy(hosts *origin.Hosts, log *slog.Logger, calls *calls) *proxy {
	return &proxy{hosts: hosts, log: log, calls: calls, tunnels: make(chan struct{}, mostTunnels)}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address, ok := "", false
	if r.Method == http.MethodConnect {
		address, ok = p.target(r.Host)
	}
	if !ok {
		asked := origin.Printable(r.Method + " " + r.Host)
		p.log.Warn("the proxy refused a host that is not the emulated tenant's", "request", asked)
		p.calls.count(Call{API: "proxy", Request: asked, Status: "4xx", Client: clientOf(r.Header)})
		http.Error(w, "This proxy leads to the emulated tenant alone, by CONNECT, and not to "+origin.Printable(r.Host)+".", http.StatusForbidden)
		return
	}
	select {
	case p.tunnels <- struct{}{}:
		defer func() { <-p.tunnels }()
	default:
		http.Error(w, fmt.Sprintf("There are %d tunnels already.", mostTunnels), http.StatusServiceUnavailable)
		return
	}
	dialer := net.Dialer{Timeout: dialWait}
	upstream, err := dialer.DialContext(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, "The emulated tenant does not answer.", http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "The connection cannot become a tunnel.", http.StatusInternalServerError)
		return
	}
	defer client.Close()
	// Close ends the tunnels by the context.
	stop := context.AfterFunc(r.Context(), func() { client.Close(); upstream.Close() })
	defer stop()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		return
	}
	down := make(chan struct{})
	go func() {
		defer close(down)
		pass(client, upstream, upstream)
	}()
	// Of the server's buffer only what is in it: reading on through it would
	// take the end of what the client sends for the end of the request.
	early := io.LimitReader(buffered, int64(buffered.Reader.Buffered()))
	pass(upstream, client, io.MultiReader(early, client))
	<-down
}

// target returns where the API is that a client reaches by a host and port.
func (p *proxy) target(hostPort string) (address string, ok bool) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", false
	}
	if port == "443" {
		if _, address, ok := p.hosts.API(host); ok {
			return address, true
		}
	}
	o := p.hosts.Origins
	for _, at := range []string{o.Authority, o.Graph, o.Vault, o.Manage, o.Logs, o.Identity, o.Resources, o.Control} {
		_, at, _ = strings.Cut(at, "://")
		own, ownPort, err := net.SplitHostPort(at)
		if err == nil && port == ownPort && (host == own || strings.EqualFold(host, "localhost") && net.ParseIP(own).IsLoopback()) {
			return at, true
		}
	}
	return "", false
}

// pass copies one direction of a tunnel until it ends, and ends it on the other
// side likewise: in order, or by a reset.
func pass(to, from net.Conn, r io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		from.SetReadDeadline(time.Now().Add(tunnelIdle))
		n, err := r.Read(buffer)
		if n > 0 {
			to.SetWriteDeadline(time.Now().Add(tunnelIdle))
			if _, failed := to.Write(buffer[:n]); failed != nil {
				abort(from)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if half, ok := to.(*net.TCPConn); ok {
				half.CloseWrite()
			}
			return
		default:
			abort(to)
			return
		}
	}
}

// abort ends a connection with a reset.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
