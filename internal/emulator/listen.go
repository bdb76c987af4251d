package emulator

import (
	"fmt"
	"net"
	"strconv"
)

// apiAddresses returns the address of each API as host:port, and refuses those
// that others can reach, unless that is wanted: what is served here hands out
// tokens and private keys.
func apiAddresses(o Options) ([]string, error) {
	if o.Proxy != "" {
		if _, _, err := splitAddress(o.Proxy, 1, o.Expose); err != nil {
			return nil, fmt.Errorf("the proxy: %w", err)
		}
	}
	if o.Listen == "" && o.State != nil {
		for _, a := range o.State.saved.Addresses {
			if _, _, err := splitAddress(a, 1, o.Expose); err != nil {
				return nil, fmt.Errorf("the state's addresses: %w", err)
			}
		}
		return o.State.saved.Addresses, nil
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	host, port, err := splitAddress(o.Listen, apiCount, o.Expose)
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range apiCount {
		at := port
		if port > 0 {
			at += i
		}
		all = append(all, net.JoinHostPort(host, strconv.Itoa(at)))
	}
	return all, nil
}

// splitAddress reads IP:port, with room for n ports from there on.
func splitAddress(address string, n int, expose bool) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("reading the address to listen on %q: want IP:port: %w", address, err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	ip := net.ParseIP(host)
	switch {
	case err != nil || int(number)+n-1 > 65535:
		return "", 0, fmt.Errorf("listening on %s: the port must be a number that leaves room for %d ports", address, n)
	case host == "127.0.0.1" || host == "::1":
	case ip == nil || ip.IsUnspecified():
		return "", 0, fmt.Errorf("listening on %s: want one IP address, by which clients reach it", address)
	case !expose:
		return "", 0, fmt.Errorf("listening on %s: the emulated tenant listens on 127.0.0.1 or [::1] alone, unless it is to be exposed", address)
	}
	return host, int(number), nil
}

// openAll opens a listener at each address, or none.
func openAll(addresses []string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}
