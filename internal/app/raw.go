package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

// rawReport is how much is kept of records as Microsoft sent them.
type rawReport struct {
	Pieces     int64  `json:"pieces"`
	Bytes      int64  `json:"bytes"`            // as they were sent
	Stored     int64  `json:"stored_bytes"`     // compressed
	Oldest     string `json:"oldest,omitempty"` // the day on which the oldest came
	HeldStored int64  `json:"quarantine_stored_bytes"`
}

func rawKept(ctx context.Context, db *store.DB, tenant int) (rawReport, error) {
	s, err := db.RawSize(ctx, tenant)
	r := rawReport{Pieces: s.Pieces, Bytes: s.Bytes, Stored: s.Stored, HeldStored: s.HeldStored}
	if s.Oldest > 0 {
		r.Oldest = dayText(s.Oldest)
	}
	return r, err
}

func dayText(day int) string {
	return fmt.Sprintf("%04d-%02d-%02d", day/10000, day/100%100, day%100)
}

func (p *program) printRaw(r rawReport) {
	if r.Pieces == 0 {
		fmt.Fprintln(p.Out, "text as it was sent: none is kept of what is stored")
		return
	}
	fmt.Fprintf(p.Out, "text as it was sent: %s kept as %s, since %s\n", bytesText(r.Bytes), bytesText(r.Stored), r.Oldest)
}

// quarantine adds what is in quarantine.
func (s *statusReport) quarantine(ctx context.Context, db *store.DB, tenant int) error {
	kinds, err := db.Kinds(ctx, tenant, store.QuarantineFilter{})
	if err != nil {
		return err
	}
	s.NoAlarm = map[string]int64{}
	for _, k := range kinds {
		s.Quarantined[k.Reason] = k.Records
		if k.Ignored > 0 {
			s.NoAlarm[k.Reason] = k.Ignored
		}
	}
	return nil
}

func (p *program) printQuarantined(s *statusReport) {
	for _, reason := range slices.Sorted(maps.Keys(s.Quarantined)) {
		fmt.Fprintf(p.Out, "in quarantine: %d × %s", s.Quarantined[reason], reason)
		if n := s.NoAlarm[reason]; n > 0 {
			fmt.Fprintf(p.Out, ", %d of them ignored", n)
		}
		fmt.Fprintln(p.Out)
	}
}

// warnOfQuarantine warns of what has come into quarantine since a time and is not ignored.
func (a *App) warnOfQuarantine(ctx context.Context, feed string, since time.Time) {
	kinds, err := a.DB.Kinds(ctx, a.Tenant, store.QuarantineFilter{Since: since})
	if err != nil {
		a.log.Warn("What was put into quarantine cannot be counted.", "feed", feed, "error", err)
		return
	}
	alarms := int64(0)
	for _, k := range kinds {
		alarms += k.Records - k.Ignored
	}
	if alarms > 0 {
		a.log.Warn("Records were put into quarantine.", "feed", feed, "records", alarms, "see", "reeve quarantine list")
	}
}

// forget gives up the text that is older than is wanted. If that fails it is done again
// after the next cycle.
func (a *App) forget(ctx context.Context) {
	days := a.Config.Feeds.Audit.RawDays
	if days == 0 || ctx.Err() != nil {
		return
	}
	before := a.now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -days)
	pieces, records, more, err := a.DB.Forget(ctx, a.Tenant, "audit", before)
	if err != nil {
		a.log.Warn("Old text could not be given up; it is tried again.", "error", err, "remedy", remedy(err))
	}
	if pieces > 0 || records > 0 {
		a.log.Info("Text of records was given up, as feeds.audit.raw-days says.", "before", before.Format(time.DateOnly), "pieces", pieces, "quarantined", records, "more", more)
	}
}
