package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

func certCancelCommand(p *program) *cobra.Command {
	var kind, why string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cancel [APP]",
		Short: "Take back what was asked for, as long as nothing was done of it",
		Long: `cancel takes back what was asked for by renew, promote, rollback, retire or revoke, and
waits: for a service that is down, for a clock, or for 'reeve serve'. What has begun goes
on, since half of it would be worse; the command says how far it has come, and what helps
then. The journal has who took what back, and why.`,
		Example: `  reeve cert cancel
  reeve cert cancel reeve --kind renew --why ticket-4711`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.certCancel(cmd.Context(), args, credential.WishKind(kind), why, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "what is taken back: renew, promote, rollback, retire or revoke; all that waits when it is not given")
	f.StringVar(&why, "why", "", "the reason, for the journal")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// afterBegun says what helps when a wish has begun.
var afterBegun = map[credential.WishKind]string{
	credential.Renew:    "when it is in use, reeve cert rollback makes the one before the one in use again",
	credential.Promote:  "when it is in use, reeve cert rollback makes the one before the one in use again",
	credential.Rollback: "when it is in use, a second reeve cert rollback goes forward again",
	credential.Retire:   "it is gone from Entra ID, or about to be: reeve cert renew makes another",
	credential.Revoke:   "it is gone from Entra ID, or about to be: reeve cert renew makes another",
}

func (p *program) certCancel(ctx context.Context, args []string, kind credential.WishKind, why string, asJSON bool) error {
	if _, ok := afterBegun[kind]; !ok && kind != "" {
		return wrongFlag("kind", fmt.Errorf("%q is nothing that can be asked for: write renew, promote, rollback, retire or revoke", kind))
	}
	a, err := p.certApp(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	asked := slices.DeleteFunc(slices.Clone(app.Wishes), func(w credential.Wish) bool { return kind != "" && w.Kind != kind })
	if len(asked) == 0 {
		return fmt.Errorf("nothing that was asked for of %s waits to be done: see reeve cert history %s", plain(app.Name), app.ClientID)
	}
	taken, errs := []credential.Wish{}, []error{}
	for _, w := range asked {
		err := p.whenFree(ctx, func() error { return a.planner().TakeBack(ctx, app.ObjectID, w, actor(), why) })
		switch {
		case errors.Is(err, rotate.ErrBegun):
			errs = append(errs, fmt.Errorf("%s of %s is not taken back: %w; %s", w.Kind, plain(app.Name), err, afterBegun[w.Kind]))
		case errors.Is(err, store.ErrNotFound):
			errs = append(errs, fmt.Errorf("%s of %s was done or taken back meanwhile: see reeve cert history %s", w.Kind, plain(app.Name), app.ClientID))
		case err != nil:
			return err
		default:
			taken = append(taken, w)
			if !asJSON {
				fmt.Fprintf(p.Out, "%s of %s is taken back, which %s asked for at %s\n", w.Kind, plain(app.Name), plain(w.By), utc(w.At))
			}
		}
	}
	if asJSON {
		if err := printJSON(p.Out, map[string]any{"taken_back": taken}); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
