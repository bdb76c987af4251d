package activity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

// Blob opens the content at a URI that [Client.Content] gave: the bytes of a JSON
// array of audit records. They stream; the caller closes the body. A body that ends
// early, breaks off or stalls gives an error from Read, never io.EOF.
func (c *Client) Blob(ctx context.Context, uri string) (io.ReadCloser, error) {
	const op = "reading a content blob"
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%s: its address: %w", op, err)
	}
	if err := c.checkOrigin(u); err != nil {
		return nil, fmt.Errorf("%s: its address: %w", op, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: c.withPublisher(u), Stream: true})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	b := &blob{body: resp.Body, ctx: ctx, cancel: cancel, idle: c.idle, url: u.Host + u.Path}
	b.timer = time.AfterFunc(c.idle, func() { cancel(errStalled) })
	b.timer.Stop()
	return b, nil
}

var errStalled = errors.New("no more bytes came")

// blob is a body whose every Read must make progress within the idle time. Between
// reads the caller may take its time.
type blob struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	url    string
}

func (b *blob) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err == nil || err == io.EOF && b.ctx.Err() == nil {
		return n, err
	}
	// An end that comes together with a cancellation is none: a server that sees
	// its client leave may close the unfinished body in good form.
	e := &m365.Error{Op: "reading a content blob", URL: b.url, Kind: m365.ErrTransient, Err: err}
	switch cause := context.Cause(b.ctx); {
	case cause == errStalled:
		e.Err = fmt.Errorf("%w for %s", errStalled, b.idle)
	case cause != nil: // the caller's doing
		e.Kind, e.Err = nil, cause
	}
	return n, e
}

func (b *blob) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.body.Close()
}
