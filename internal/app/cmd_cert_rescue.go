package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/rotate"
)

type rescueFlags struct {
	offline            string
	resume, deviceCode bool
	force, asJSON      bool
	why                string
}

func certRescueCommand(p *program) *cobra.Command {
	var o rescueFlags
	cmd := &cobra.Command{
		Use:   "rescue [APP]",
		Short: "Get a certificate again when every one has expired or was lost",
		Long: `rescue shows the ways back for an application whose certificates do not work any more,
and which of them would work now; they are tried each day, before they are needed. Then
it goes one of them:

--device-code   somebody with the role Application Administrator, or an owner of the
                application, signs in at a web page; reeve registers a new certificate
                with what they may do, and keeps nothing of it.
--offline       writes a folder for somebody else's administrator: the new public
                certificate, and scripts that register it. Nothing in it is secret. Where
                the policy leaves certificates to your authority, it holds the request.
--resume        goes on after one of those scripts was run.

Where a certificate of the application, or the identity of credentials.manager, still
works, 'reeve cert renew' is all that is needed.`,
		Example: `  reeve cert rescue
  reeve cert rescue reeve --offline kit --why ticket-4711
  reeve cert rescue reeve --resume
  reeve cert rescue reeve --device-code`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error { return p.certRescue(cmd.Context(), args, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.offline, "offline", "", "write the kit into this folder")
	f.BoolVar(&o.resume, "resume", false, "go on after the kit's certificate was registered")
	f.BoolVar(&o.deviceCode, "device-code", false, "let a person sign in")
	f.BoolVar(&o.force, "force", false, "with --offline, replace files that are there")
	f.StringVar(&o.why, "why", "", "the reason, for the journal")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("offline", "resume", "device-code")
	cmd.MarkFlagDirname("offline")
	return cmd
}

func (p *program) certRescue(ctx context.Context, args []string, o *rescueFlags) error {
	a, err := p.certAppSignedIn(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	switch {
	case o.offline != "":
		return p.rescueOffline(ctx, a, app.Application, o)
	case o.resume:
		return p.rescueResume(ctx, a, app.Application, o)
	case o.deviceCode:
		return p.rescueByPerson(ctx, a, app.Application, o)
	}
	rotator, err := a.rotation(ctx, nil)
	if err != nil {
		return err
	}
	rungs := rotator.Rungs(ctx, app.Application)
	if o.asJSON {
		err = printJSON(p.Out, map[string]any{"application": app.ClientID, "rungs": rungs})
	} else {
		t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
		for _, r := range rungs {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, r.Works, plain(r.Text))
		}
		err = t.Flush()
	}
	byItself := slices.ContainsFunc(rungs[:3], func(r credential.Rung) bool { return r.Works == credential.Yes })
	if c, ok := app.Active(); ok && err == nil && !byItself {
		if _, pairErr := a.pair(ctx, c); errors.Is(pairErr, certstore.ErrKeyset) {
			return failWith(exitCheck, "nothing has to be rescued as long as the right keyset can be found: %w", pairErr)
		}
	}
	if err == nil && !byItself {
		err = failWith(exitCheck, "reeve cannot help application %s by itself: a person has to (--device-code, --offline)", plain(app.Name))
	}
	return err
}

// rescueOffline writes the kit.
func (p *program) rescueOffline(ctx context.Context, a *App, app credential.Application, o *rescueFlags) error {
	rotator, err := a.rotation(ctx, nil)
	if err != nil {
		return err
	}
	const other = "name another folder, or have what is there replaced by --force; nothing was written"
	for _, name := range rotate.KitNames() { // before a key is made for it
		path := filepath.Join(o.offline, name)
		if _, err := os.Lstat(path); err == nil && !o.force {
			return failWith(exitUsage, "writing %s: %w: %s", path, fs.ErrExist, other)
		}
	}
	var names []string
	write := func(kit rotate.Kit) error {
		files := slices.Clone(kit.Files)
		for i := range files {
			names = append(names, files[i].Path)
			files[i].Path = filepath.Join(o.offline, files[i].Path)
		}
		err := certstore.WriteFiles(files, o.force)
		if errors.Is(err, fs.ErrExist) {
			err = fileThere(err, fmt.Errorf("%w: %s", err, other))
		}
		return err
	}
	var kit rotate.Kit
	if err := p.whenFree(ctx, func() (err error) {
		kit, err = rotator.MakeKit(ctx, app.ObjectID, actor(), o.why, write)
		return err
	}); err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"folder": o.offline, "files": names, "sha1": kit.Credential.SHA1,
			"sha256": kit.Credential.SHA256, "credential": kit.Credential.ID})
	}
	fmt.Fprintf(p.Out, "%s: %v\n", o.offline, names)
	if kit.Credential.State == credential.Keyed {
		fmt.Fprintf(p.Err, "The policy leaves certificates to an authority (issuer: request). Nothing in it is secret. Give request.csr to your authority: README.txt says what to do then.\n")
		return nil
	}
	fmt.Fprintf(p.Err, "Nothing in it is secret. Give it to somebody who administers the tenant: README.txt says what to do.\nAfterwards: reeve cert rescue %s --resume\n", app.ClientID)
	return nil
}

// rescueResume goes on with the kit's certificate until it is in use.
func (p *program) rescueResume(ctx context.Context, a *App, app credential.Application, o *rescueFlags) error {
	rotator, err := a.rotation(ctx, nil)
	if err != nil {
		return err
	}
	var c credential.Credential
	if err := p.whenFree(ctx, func() (err error) {
		c, err = rotator.ResumeKit(ctx, app.ObjectID, actor())
		return err
	}); err != nil {
		return err
	}
	return p.rescued(ctx, a, app, credential.Wish{Kind: credential.Promote, Credential: c.ID, By: actor(), Why: o.why}, o)
}

// rescueByPerson renews with what a person may do who signs in.
func (p *program) rescueByPerson(ctx context.Context, a *App, app credential.Application, o *rescueFlags) error {
	who, err := m365.NewPerson(a.Cloud, a.Config.TenantID, a.http, func(message string) { fmt.Fprintln(p.Err, message) },
		"Application.ReadWrite.All")
	if err != nil {
		return err
	}
	if a.person, err = graph.New(graph.Options{Cloud: a.Cloud, Credential: who, HTTP: a.http, Retry: m365.Retry{Max: -1}}); err != nil {
		return err
	}
	// Now, and not when a step's time is short.
	if _, err := a.person.Application(ctx, app.ObjectID); err != nil {
		return err
	}
	return p.rescued(ctx, a, app, credential.Wish{Kind: credential.Renew, By: actor(), Why: o.why}, o)
}

// rescued asks for what is to come, and works until it is there.
func (p *program) rescued(ctx context.Context, a *App, app credential.Application, w credential.Wish, o *rescueFlags) error {
	if app.Mode != credential.On {
		return errors.New("the application is in mode " + string(app.Mode) + ", in which reeve changes nothing: reeve cert policy set " + app.ClientID + " --mode on")
	}
	if w.Why == "" {
		w.Why = "rescue"
	}
	var err error
	if w.At, err = a.DB.AddWish(ctx, a.Tenant, app.ObjectID, w); err != nil {
		return err
	}
	if err := p.pursue(ctx, a, app.ObjectID, w); err != nil {
		return err
	}
	return p.wishResult(ctx, a, app.ObjectID, w, true, o.asJSON)
}
