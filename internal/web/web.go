// Package web is reeve's site: pages made on the server from what the store
// holds. It never calls Microsoft, and a page changes nothing. There are the status
// of the import, the certificates of all applications, and a page for each of these,
// without sign-in, on loopback alone.
package web

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

//go:embed templates/*.html static/*
var files embed.FS

// Options say what the site shows, and where.
type Options struct {
	Listen string // host:port; a loopback address
	DB     *store.DB
	Tenant int
	Log    *slog.Logger
	Now    func() time.Time
	Banner string // shown on top of every page; may be empty
	// Rhythm is that of the process that looks after certificates; what is left out of it is
	// as usual.
	Rhythm credential.Rhythm
	// Imports says that a feed is enabled, so that there is, or will be, something imported.
	Imports bool
	Every   time.Duration // how often it is imported
	// Refused gives what the database refuses to the import of this process, nil while it
	// works. It may be nil.
	Refused func() *Refusal
	// Handlers are served besides the pages, by patterns of [http.ServeMux], under the
	// same rules: on loopback alone, and by no other host name.
	Handlers map[string]http.Handler
}

// A Refusal is why the database does not let the import go on.
type Refusal struct {
	Cause, Remedy string // as in [store.Error]
	Since         time.Time
}

// Site is the site while it is served.
type Site struct {
	Options
	pages    *template.Template
	overview overview
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// Start serves the site. If the port is taken by another program it takes a
// free one: the address is what URL says.
func Start(o Options) (*Site, error) {
	pages, err := template.New("").Funcs(functions).ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("reading the templates: %w", err)
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", o.Listen, err)
	}
	l, err := net.Listen("tcp", o.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		o.Log.Warn("The address of the status page is taken; it gets a free port.", "listen", o.Listen, "error", err)
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("serving the status page on %s: %w", o.Listen, err)
	}
	o.Rhythm.Look = cmp.Or(o.Rhythm.Look, credential.UsualRhythm.Look)
	o.Rhythm.Rehearse = cmp.Or(o.Rhythm.Rehearse, credential.UsualRhythm.Rehearse)
	s := &Site{Options: o, pages: pages, listener: l, done: make(chan struct{})}
	s.server = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("The status page is no longer served.", "error", err)
		}
	}()
	return s, nil
}

// URL is the address of the first page.
func (s *Site) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Close stops serving, after what is under way, but within five seconds.
func (s *Site) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	<-s.done
	return err
}

func (s *Site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.page(s.status))
	mux.Handle("GET /certificates", s.page(s.certificates))
	mux.Handle("GET /certificates/{object}", s.page(s.application))
	mux.Handle("GET /static/", http.FileServerFS(files))
	for pattern, h := range s.Handlers {
		mux.Handle(pattern, h)
	}
	return secure(mux)
}

// secure sets what every answer carries: no script, nothing from elsewhere, and
// no frame around it. A request for another host name than ours is refused, so
// that a page of the internet cannot read this one by way of its own name.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(r.Host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "This page is served on loopback alone.", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
