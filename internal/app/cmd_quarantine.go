package app

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

func quarantineCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "quarantine", GroupID: "main",
		Short: "See what could not be stored, try it again, or say that it is no alarm",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(quarantineListCommand(p), quarantineShowCommand(p), quarantineRetryCommand(p), quarantineIgnoreCommand(p), quarantineExportCommand(p))
	return cmd
}

// whichFlags say which records in quarantine are meant.
type whichFlags struct {
	reason, match, since string
}

func (w *whichFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.reason, "reason", "", "those with this reason")
	f.StringVar(&w.match, "match", "", "those in whose detail this text is")
	f.StringVar(&w.since, "since", "", "those that came since then: a day (2026-11-02), a time in UTC (2026-11-02T08:00), or how long ago (36h, 7d)")
}

func (w *whichFlags) filter(p *program) (store.QuarantineFilter, error) {
	since, _, err := p.moment(w.since)
	if err != nil {
		err = failWith(exitUsage, "--since %q: %w", w.since, err)
	}
	return store.QuarantineFilter{Reason: w.reason, Has: w.match, Since: since}, err
}

// with opens the database for a command about the records that the flags say; all: also
// those that are ignored.
func (w *whichFlags) with(p *program, cmd *cobra.Command, all bool, f func(c *config.Config, db *store.DB, tenant int, filter store.QuarantineFilter) error) error {
	filter, err := w.filter(p)
	if err != nil {
		return err
	}
	filter.Alarms = !all
	return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
		if err := checkReason(cmd, db, tenant, w.reason); err != nil {
			return err
		}
		return f(c, db, tenant, filter)
	})
}

// checkReason refuses a reason that is none of reeve's, nor of what is there: what an older
// reeve has written counts.
func checkReason(cmd *cobra.Command, db *store.DB, tenant int, reason string) error {
	known := slices.Concat(ingest.Reasons(), feed.AuditReasons())
	if reason == "" || slices.Contains(known, reason) {
		return nil
	}
	kinds, err := db.Kinds(cmd.Context(), tenant, store.QuarantineFilter{})
	if err != nil {
		return err
	}
	ignored, err := db.IgnoredKinds(cmd.Context(), tenant)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		known = append(known, k.Reason)
	}
	for _, k := range ignored {
		known = append(known, k.Reason)
	}
	if slices.Contains(known, reason) {
		return nil
	}
	slices.Sort(known)
	return failWith(exitUsage, "--reason %q: there is no such reason; give one of: %s", reason, plain(strings.Join(slices.Compact(known), ", ")))
}

// heldReport is a record in quarantine.
type heldReport struct {
	Digest   string    `json:"digest"`
	SeenAt   time.Time `json:"seen_at"`
	Feed     string    `json:"feed"`
	Part     string    `json:"content_type"`
	Blob     string    `json:"blob"`
	RecordID string    `json:"record_id,omitempty"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Bytes    int64     `json:"bytes"`
	Ignored  bool      `json:"ignored,omitempty"`
	Kept     bool      `json:"text_kept"`
}

func heldOf(q store.Quarantined) heldReport {
	return heldReport{Digest: hex.EncodeToString(q.Digest), SeenAt: q.SeenAt, Feed: q.Feed, Part: q.Part, Blob: q.Blob, RecordID: q.RecordID,
		Reason: q.Reason, Detail: q.Detail, Bytes: q.Bytes, Ignored: q.Ignored, Kept: q.Kept}
}

func quarantineListCommand(p *program) *cobra.Command {
	var which whichFlags
	var all, asJSON bool
	var limit int
	var after string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Count what is in quarantine by reason, and list it, the newest first",
		Example: `  reeve quarantine list
  reeve quarantine list --reason 'no time' --since 7d
  reeve quarantine list --all --limit 200 --after 1f7705f413d64225bc860715a949d6d3`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 10_000 {
				return failWith(exitUsage, "--limit %d: give 1 to 10000", limit)
			}
			return which.with(p, cmd, all, func(_ *config.Config, db *store.DB, tenant int, filter store.QuarantineFilter) error {
				kinds, err := db.Kinds(cmd.Context(), tenant, filter)
				if err != nil {
					return err
				}
				others := int64(0)
				if len(kinds) == 0 && !asJSON {
					all, err := db.Kinds(cmd.Context(), tenant, store.QuarantineFilter{})
					if err != nil {
						return err
					}
					for _, k := range all {
						others += k.Records
					}
				}
				var from []byte
				if after != "" {
					q, err := heldBy(cmd, db, tenant, after)
					if err != nil {
						return err
					}
					from = q.Digest
				}
				held, err := db.Quarantine(cmd.Context(), tenant, filter, from, limit+1)
				if err != nil {
					return err
				}
				more := len(held) > limit
				held = held[:min(len(held), limit)]
				if asJSON {
					return p.quarantineJSON(kinds, held, more)
				}
				p.printKinds(kinds, others)
				p.printHeld(held)
				if more {
					fmt.Fprintf(p.Err, "There are more: --after %x\n", held[len(held)-1].Digest)
				}
				return nil
			})
		},
	}
	which.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "also those that are ignored")
	f.IntVar(&limit, "limit", 50, "how many to list")
	f.StringVar(&after, "after", "", "go on after the record with this digest")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) quarantineJSON(kinds []store.Kind, held []store.Quarantined, more bool) error {
	type kind struct {
		Reason  string    `json:"reason"`
		Records int64     `json:"records"`
		Ignored int64     `json:"ignored"`
		Oldest  time.Time `json:"oldest"`
		Newest  time.Time `json:"newest"`
		Bytes   int64     `json:"bytes"`
		Stored  int64     `json:"stored_bytes"`
	}
	report := struct {
		Kinds   []kind       `json:"kinds"`
		Records []heldReport `json:"records"`
		More    bool         `json:"more"`
	}{[]kind{}, []heldReport{}, more}
	for _, k := range kinds {
		report.Kinds = append(report.Kinds, kind{k.Reason, k.Records, k.Ignored, k.Oldest, k.Newest, k.Bytes, k.KeptData})
	}
	for _, q := range held {
		report.Records = append(report.Records, heldOf(q))
	}
	return printJSON(p.Out, report)
}

// printKinds prints what there is, or how many others there are.
func (p *program) printKinds(kinds []store.Kind, others int64) {
	if len(kinds) == 0 && others > 0 {
		fmt.Fprintf(p.Out, "Nothing in quarantine is of that kind; %s of other kinds.\n", counted(int(others), "record"))
		return
	}
	if len(kinds) == 0 {
		fmt.Fprintln(p.Out, "Nothing is in quarantine.")
		return
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "reason\trecords\tignored\toldest\tnewest\tas sent\tkept as")
	for _, k := range kinds {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", plain(k.Reason), k.Records, k.Ignored, utc(k.Oldest), utc(k.Newest), bytesText(k.Bytes), bytesText(k.KeptData))
	}
	t.Flush()
}

// maxDetail is how much of a detail a line shows.
const maxDetail = 100

func (p *program) printHeld(held []store.Quarantined) {
	if len(held) == 0 {
		return
	}
	fmt.Fprintln(p.Out)
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "digest\tseen\treason\tcontent type\tId\tbytes\tdetail")
	for _, q := range held {
		reason, id, detail := q.Reason, q.RecordID, []rune(plain(q.Detail))
		if q.Ignored {
			reason += " (ignored)"
		}
		if id == "" {
			id = "-"
		}
		if len(detail) > maxDetail {
			detail = append(detail[:maxDetail-1], '…')
		}
		fmt.Fprintf(t, "%x\t%s\t%s\t%s\t%s\t%d\t%s\n", q.Digest, utc(q.SeenAt), plain(reason), plain(q.Part), plain(id), q.Bytes, string(detail))
	}
	t.Flush()
}

func heldBy(cmd *cobra.Command, db *store.DB, tenant int, digest string) (store.Quarantined, error) {
	q, err := db.Quarantined(cmd.Context(), tenant, digest)
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = fmt.Errorf("nothing with the digest %s is in quarantine; 'reeve quarantine list --all' lists what is", plain(digest))
	case errors.Is(err, store.ErrAmbiguous):
		err = fmt.Errorf("more than one digest begins with %s: write more of it", plain(digest))
	}
	return q, err
}

func quarantineShowCommand(p *program) *cobra.Command {
	var asJSON, raw bool
	cmd := &cobra.Command{
		Use:   "show DIGEST",
		Short: "Print one record in quarantine as Microsoft sent it",
		Long: `show prints the text that is kept of a record, found by its digest or the
beginning of that. To a terminal, characters that could control it are written
as \x1b and the like; to a file or program the text goes byte for byte.`,
		Example: `  reeve quarantine show 1f7705f4
  reeve quarantine show 1f7705f4 > record.json`,
		Args: oneArg("the digest of a record"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withTenant(cmd.Context(), func(_ *config.Config, db *store.DB, tenant int) error {
				q, err := heldBy(cmd, db, tenant, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.Out, textOf(q))
				}
				fmt.Fprintf(p.Err, "%s, from %s, blob %s, %s: %s\n", plain(q.Reason), plain(q.Part), plain(q.Blob), utc(q.SeenAt), plain(q.Detail))
				switch {
				case !q.Kept:
					fmt.Fprintf(p.Err, "None of its %d bytes are kept (feeds.audit.raw, feeds.audit.raw-days).\n", q.Bytes)
					return nil
				case !q.Whole():
					fmt.Fprintf(p.Err, "These are the first %d of its %d bytes.\n", len(q.Raw), q.Bytes)
				}
				if !raw && p.showsOut() {
					_, err = fmt.Fprintln(p.Out, visible(q.Raw))
				} else {
					_, err = p.Out.Write(q.Raw)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON that also tells reason, content type and blob")
	cmd.Flags().BoolVar(&raw, "raw", false, "byte for byte, to a terminal as well")
	return cmd
}

// showsOut tells whether standard output is a terminal.
func (p *program) showsOut() bool {
	f, ok := p.Out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// visible is a text for a terminal: lines stay, and what could control it is escaped.
func visible(text []byte) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		text = text[n:]
	}
	return b.String()
}

// heldText is a record in quarantine with its text: as text if it is one, else as base64.
type heldText struct {
	heldReport
	Whole bool   `json:"whole"`
	Text  string `json:"text,omitempty"`
	Data  []byte `json:"base64,omitempty"`
}

func textOf(q store.Quarantined) heldText {
	t := heldText{heldReport: heldOf(q), Whole: q.Whole()}
	if utf8.Valid(q.Raw) {
		t.Text = string(q.Raw)
	} else {
		t.Data = q.Raw
	}
	return t
}

func quarantineExportCommand(p *program) *cobra.Command {
	var which whichFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what is in quarantine as lines of JSON, with its text",
		Example: `  reeve quarantine export > quarantine.jsonl
  reeve quarantine export --reason conflict --since 7d | jq -r .text`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return which.with(p, cmd, all, func(_ *config.Config, db *store.DB, tenant int, filter store.QuarantineFilter) error {
				return exportHeld(cmd, db, tenant, filter, p.Out)
			})
		},
	}
	which.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also those that are ignored")
	return cmd
}

func exportHeld(cmd *cobra.Command, db *store.DB, tenant int, filter store.QuarantineFilter, to io.Writer) error {
	lines := json.NewEncoder(to)
	lines.SetEscapeHTML(false)
	var after []byte
	for {
		held, err := db.Held(cmd.Context(), tenant, "audit", filter, after)
		if err != nil || len(held) == 0 {
			return err
		}
		for _, q := range held {
			if err := lines.Encode(textOf(q)); err != nil {
				return fmt.Errorf("writing what is in quarantine: %w", err)
			}
			after = q.Digest
		}
	}
}

func quarantineRetryCommand(p *program) *cobra.Command {
	var which whichFlags
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Decode what is in quarantine again, and store what can be stored now",
		Long: `retry reads records in quarantine with this version of reeve, after an upgrade.
What can be stored goes into the tables, and leaves the quarantine in the same
transaction; the rest stays. It may be killed at any moment, and be run again; an
import may go on beside it.`,
		Example: `  reeve quarantine retry --dry-run
  reeve quarantine retry --reason 'no time'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return which.with(p, cmd, true, func(c *config.Config, db *store.DB, tenant int, filter store.QuarantineFilter) error {
				scope, err := feed.NewScope(c.Feeds.Audit.OrgURLs)
				if err != nil {
					return coded{exitConfig, err}
				}
				n, err := ingest.Retry(cmd.Context(), feed.AuditForm(tenant, scope), ingest.RetryOptions{DB: db, Tenant: tenant, Which: filter, Dry: dry})
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.Out, struct {
						DryRun     bool  `json:"dry_run,omitempty"`
						Records    int64 `json:"records"`
						Stored     int64 `json:"stored"`
						Duplicate  int64 `json:"duplicate"`
						OutOfScope int64 `json:"out_of_scope"`
						Held       int64 `json:"still_in_quarantine"`
						NotWhole   int64 `json:"not_whole"`
					}{dry, n.Records, n.Stored, n.Duplicate, n.OutOfScope, n.Held, n.NotWhole})
				}
				fmt.Fprintf(p.Out, `%9d records tried again
%9d %s
%9d are stored already, and say the same
%9d are out of scope
%9d stay in quarantine
%9d likewise, since not all of their text is kept
`, n.Records, n.Stored, become(dry, "stored"), n.Duplicate, n.OutOfScope, n.Held, n.NotWhole)
				return nil
			})
		},
	}
	which.add(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would become of them, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func quarantineIgnoreCommand(p *program) *cobra.Command {
	var reason, match, why string
	var list, remove, asJSON bool
	cmd := &cobra.Command{
		Use:   "ignore",
		Short: "Say that a kind of records in quarantine is no alarm",
		Long: `ignore says of a kind of records, those with a reason and, if --match is given,
with that text in their detail, that somebody has looked and they are no alarm.
They still go to quarantine and are counted there, and can be shown for as long as
their text is kept; but no warning is logged for them, the status page does not
count them, and list leaves them out unless --all is given.`,
		Example: `  reeve quarantine ignore --reason 'not an object' --why 'Microsoft sends null now and then; ticket 4711'
  reeve quarantine ignore --reason 'no time' --match '"never"' --why 'a test application of ours'
  reeve quarantine ignore --list
  reeve quarantine ignore --remove --reason 'not an object'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case list && (remove || reason != "" || match != "" || why != ""):
				return failWith(exitUsage, "--list goes with no other flag but --json")
			case !list && reason == "":
				return failWith(exitUsage, "say which kind: --reason, as 'reeve quarantine list' shows it")
			case !list && !remove && strings.TrimSpace(why) == "":
				return failWith(exitUsage, "say why it is no alarm: --why")
			}
			return p.withTenant(cmd.Context(), func(_ *config.Config, db *store.DB, tenant int) error {
				if err := checkReason(cmd, db, tenant, reason); err != nil {
					return err
				}
				var err error
				switch {
				case remove:
					if err = db.Heed(cmd.Context(), tenant, reason, match); errors.Is(err, store.ErrNotFound) {
						err = fmt.Errorf("that kind is not ignored; 'reeve quarantine ignore --list' lists those that are")
					}
				case !list:
					err = db.Ignore(cmd.Context(), tenant, store.Ignored{Reason: reason, Has: match, Why: why})
				}
				if err != nil {
					return err
				}
				return p.printIgnored(cmd, db, tenant, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "the reason, as the list shows it")
	f.StringVar(&match, "match", "", "only those in whose detail this text is")
	f.StringVar(&why, "why", "", "why it is no alarm")
	f.BoolVar(&list, "list", false, "list the kinds that are ignored")
	f.BoolVar(&remove, "remove", false, "make the kind an alarm again")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) printIgnored(cmd *cobra.Command, db *store.DB, tenant int, asJSON bool) error {
	kinds, err := db.IgnoredKinds(cmd.Context(), tenant)
	if err != nil {
		return err
	}
	if asJSON {
		type ignored struct {
			Reason  string    `json:"reason"`
			Match   string    `json:"match,omitempty"`
			Why     string    `json:"why"`
			Since   time.Time `json:"since"`
			Records int64     `json:"records"`
		}
		all := []ignored{}
		for _, k := range kinds {
			all = append(all, ignored{k.Reason, k.Has, k.Why, k.Since, k.Records})
		}
		return printJSON(p.Out, all)
	}
	if len(kinds) == 0 {
		fmt.Fprintln(p.Out, "Nothing is ignored.")
		return nil
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "reason\tmatch\trecords\tsince\twhy")
	for _, k := range kinds {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", plain(k.Reason), plain(k.Has), k.Records, utc(k.Since), plain(k.Why))
	}
	return t.Flush()
}
