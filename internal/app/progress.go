package app

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/ingest"
)

// progress gives a function that shows how far an import is: a bar that is drawn
// over itself on a terminal, and else a line now and then. Logs in JSON have
// none.
func (p *program) progress(c *config.Config) func(ingest.Progress) {
	if c.Log.Format == "json" {
		return nil
	}
	f, ok := p.Err.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) {
		b := &bar{program: p, every: 100 * time.Millisecond, width: func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				return w
			}
			return 80 // what a terminal is that does not know its size
		}}
		return b.show
	}
	b := &bar{program: p, every: 10 * time.Second}
	return b.show
}

type bar struct {
	program *program
	every   time.Duration
	width   func() int // nil: not a terminal

	mu   sync.Mutex
	last time.Time
}

func (b *bar) show(p ingest.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.program.now()
	end := p.Total > 0 && p.Done == p.Total
	if now.Sub(b.last) < b.every && (b.width == nil || !end) {
		return
	}
	if b.last.IsZero() && b.width == nil { // a short run needs no lines at all
		b.last = now
		return
	}
	b.last = now
	unit := "windows"
	if p.Doing == "reading" {
		unit = "blobs"
	}
	line := fmt.Sprintf("%-7s %d of %d %s, %d records", p.Doing, p.Done, p.Total, unit, p.Records)
	if b.width == nil {
		fmt.Fprintln(b.program.Err, line)
		return
	}
	const cells = 30
	filled := 0
	if p.Total > 0 {
		filled = cells * p.Done / p.Total
	}
	line = "[" + strings.Repeat("█", filled) + strings.Repeat("░", cells-filled) + "] " + line
	if r := []rune(line); len(r) > b.width()-1 {
		line = string(r[:max(b.width()-1, 0)])
	}
	fmt.Fprintf(b.program.Err, "\r%s\x1b[K", line)
	if end && p.Doing == "reading" {
		fmt.Fprint(b.program.Err, "\r\x1b[K") // the result says it all
	}
}
