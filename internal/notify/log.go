package notify

import (
	"context"
	"log/slog"
)

// logTarget writes events to the log. Every Sender has it, so that something is told
// with nothing configured.
type logTarget struct{ log *slog.Logger }

func (logTarget) Name() string { return "log" }

func (t logTarget) Send(ctx context.Context, e Event) error {
	level := map[Severity]slog.Level{Warning: slog.LevelWarn, Critical: slog.LevelError}[e.Severity]
	attrs := []slog.Attr{slog.String("event", e.ID), slog.String("kind", e.Kind), slog.Time("at", e.At)}
	for _, f := range []Field{{"text", e.Text}, {"remedy", e.Remedy}} {
		if f.Value != "" {
			attrs = append(attrs, slog.String(f.Name, f.Value))
		}
	}
	var fields []any
	for _, f := range e.Fields {
		fields = append(fields, slog.String(f.Name, f.Value))
	}
	t.log.LogAttrs(ctx, level, e.Subject, append(attrs, slog.Group("fields", fields...))...)
	return nil
}
