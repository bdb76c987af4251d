package check

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// question is a harmless call for which a permission is needed.
type question struct {
	ask func(context.Context, *asker) found
	// shared: the question is answered to other permissions too, which are no
	// substitute for this one.
	shared bool
	// nothing says why an answer may be empty, and what to do.
	nothing Finding
}

// found is what a question brought.
type found struct {
	rows int
	more bool   // there are more
	seen string // in place of the number of rows
	// untried says why there was nothing that could be asked about.
	untried string
	// usual: that nothing came is as it should be, and seen says why.
	usual bool
	notes []Finding
	err   error
}

// questions are those by the permission that they try. Every need of a feed has one.
var questions = map[string]question{
	"manage/ActivityFeed.Read":    {ask: audit(func(a *asker) []string { return a.contentTypes }), nothing: noAudit},
	"manage/ActivityFeed.ReadDlp": {ask: events, shared: true, nothing: noAudit},

	"graph/User.Read.All": {ask: func(_ context.Context, a *asker) found { return counted(a.users()) }, nothing: Finding{
		Cause: "Graph lists nobody, though every tenant has somebody", Remedy: "see whether the tenant and the cloud are the right ones"}},
	"graph/LicenseAssignment.Read.All": {ask: listing("listing the licences", "subscribedSkus", nil), nothing: Finding{
		Cause: "the tenant has no licences", Remedy: "nothing, if that is so; else see whether the tenant is the right one",
		Who: "a Billing Administrator sees the licences at Microsoft 365 admin center > Billing > Licenses"}},

	"graph/Reports.Read.All": {ask: usageReport, nothing: Finding{
		Cause:  "the report has no rows: nobody has a licence for the services, or nobody has used them yet; a report is two days behind",
		Remedy: "see whether the people have licences for Exchange, Teams or SharePoint, and look again in two days", Waiting: "two days, in a new tenant",
		Who: "a License Administrator"}},
	"graph/ReportSettings.Read.All": {ask: reportSettings},

	"graph/Team.ReadBasic.All": {ask: func(_ context.Context, a *asker) found { return counted(a.teams()) }, nothing: Finding{
		Cause: "the tenant has no team", Remedy: "nothing, if nobody uses Teams yet; else see whether the tenant is the right one and Teams is licensed",
		Who: "a Teams Administrator"}},
	"graph/TeamMember.Read.All":                  {ask: ofTeam("members", false), nothing: Finding{Cause: "the team has no members", Remedy: "see why in the Teams admin center", Who: "a Teams Administrator"}},
	"graph/Channel.ReadBasic.All":                {ask: ofTeam("channels", false), nothing: Finding{Cause: "the team has no channels, and every team has one", Remedy: "check again later"}},
	"graph/TeamsAppInstallation.ReadForTeam.All": {ask: ofTeam("installedApps", true)},
	"graph/TeamsTab.Read.All":                    {ask: tabs},
	"graph/TeamsAppInstallation.ReadForUser.All": {ask: userApps},
	"graph/AppCatalog.Read.All":                  {ask: catalog},
	"graph/CallRecords.Read.All": {ask: listing("listing the call records", "communications/callRecords", nil), nothing: Finding{
		Cause:  "there are no call records: nobody has called or met in Teams within the last 30 days, or nobody has a licence for Teams",
		Remedy: "nothing, if that is so; else see whether the people have licences for Teams", Waiting: "up to an hour after a call", Who: "a License Administrator"}},

	"graph/Application.Read.All": {ask: func(ctx context.Context, a *asker) found { return counted(a.applications(ctx)) }, shared: true, nothing: Finding{
		Cause: "Graph lists no application, and there is this one", Remedy: "check again later"}},
	"graph/Application.ReadWrite.OwnedBy": {ask: owned, shared: true},

	// The role on the workspace may be enough for the call.
	"logs/Data.Read": {ask: pageViews, shared: true, nothing: Finding{
		Cause:  "the workspace has no page views",
		Remedy: "see that the tracker in the pages reports to the Application Insights resource behind this workspace", Waiting: "some minutes after a visit",
		Who: "whoever looks after the tracker"}},
}

var noAudit = Finding{
	Cause: "the subscriptions run, and no content has come within 6 days: the audit log is off, a subscription is younger than 12 hours, nobody has done anything, or the cloud is another than the tenant's",
	Remedy: "see that audit logging is on (Microsoft Purview > Audit, or Get-AdminAuditLogConfig: UnifiedAuditLogIngestionEnabled); compare the setting cloud with the tenant " +
		"(GCC has manage-gcc.office.com)",
	Who:     "an Exchange administrator with the role Audit Logs, or a Global Administrator",
	Waiting: "up to 12 hours after the first start, up to a day after the audit log was switched on",
}

// asker asks the questions of one check. What several of them need is asked for once.
type asker struct {
	graph    *graph.Client
	activity *activity.Client
	cloud    m365.Cloud
	http     *http.Client
	logs     *m365.Pipeline

	clientID     string
	workspace    string
	contentTypes []string // of the audit feed
	now          func() time.Time

	users, teams, channels func() (graph.Answered, error)
	settings               func() (bool, error)
	subscriptions          func() ([]activity.Subscription, error)
}

// one is a page of one entry.
var one = url.Values{"$top": {"1"}, "$select": {"id"}}

// prepare readies what several questions need, which is asked when the first one does.
func (a *asker) prepare(ctx context.Context) {
	ask := func(op, path string, query url.Values) (graph.Answered, error) {
		ctx, cancel := bounded(ctx, callTimeout)
		defer cancel()
		return a.graph.Ask(ctx, graph.Question{Op: op, Path: path, Query: query})
	}
	a.users = sync.OnceValues(func() (graph.Answered, error) { return ask("listing the people", "users", one) })
	a.teams = sync.OnceValues(func() (graph.Answered, error) { return ask("listing the teams", "teams", nil) })
	a.channels = sync.OnceValues(func() (graph.Answered, error) {
		team, err := first(a.teams)
		if err != nil || team == "" {
			return graph.Answered{}, err
		}
		return ask("listing the channels of a team", "teams/"+team+"/channels", nil)
	})
	a.settings = sync.OnceValues(func() (bool, error) {
		ctx, cancel := bounded(ctx, callTimeout)
		defer cancel()
		return a.graph.ConcealsNames(ctx)
	})
	a.subscriptions = sync.OnceValues(func() ([]activity.Subscription, error) {
		ctx, cancel := bounded(ctx, callTimeout)
		defer cancel()
		return a.activity.Subscriptions(ctx)
	})
}

// first gives the ID of the first entry, escaped for a path; empty when there is none.
func first(list func() (graph.Answered, error)) (string, error) {
	all, err := list()
	if err != nil || len(all.IDs) == 0 {
		return "", err
	}
	return url.PathEscape(all.IDs[0]), nil
}

func counted(a graph.Answered, err error) found {
	return found{rows: len(a.IDs), more: a.More, err: err}
}

func listing(op, path string, query url.Values) func(context.Context, *asker) found {
	return func(ctx context.Context, a *asker) found {
		return counted(a.graph.Ask(ctx, graph.Question{Op: op, Path: path, Query: query}))
	}
}

// ofTeam lists something of the first team.
func ofTeam(what string, mayLack bool) func(context.Context, *asker) found {
	return func(ctx context.Context, a *asker) found {
		team, err := first(a.teams)
		switch {
		case err != nil:
			return found{untried: "it takes a team, and the teams could not be listed"}
		case team == "":
			return found{untried: "it takes a team, and there is none"}
		case what == "channels":
			return counted(a.channels())
		}
		f := counted(a.graph.Ask(ctx, graph.Question{Op: "listing the " + what + " of a team", Path: "teams/" + team + "/" + what}))
		if f.usual = mayLack && f.rows == 0; f.usual {
			f.seen = "the first team has none"
		}
		return f
	}
}

func tabs(ctx context.Context, a *asker) found {
	team, err := first(a.teams)
	if err != nil || team == "" {
		return found{untried: "it takes a team with a channel, and none could be listed"}
	}
	channel, err := first(a.channels)
	if err != nil || channel == "" {
		return found{untried: "it takes a channel, and none could be listed"}
	}
	f := counted(a.graph.Ask(ctx, graph.Question{Op: "listing the tabs of a channel", Path: "teams/" + team + "/channels/" + channel + "/tabs"}))
	if f.usual = f.rows == 0; f.usual {
		f.seen = "the first channel has none"
	}
	return f
}

func userApps(ctx context.Context, a *asker) found {
	user, err := first(a.users)
	switch {
	case err != nil:
		return found{untried: "it takes a person, and the people could not be listed"}
	case user == "":
		return found{untried: "it takes a person, and there is none"}
	}
	f := counted(a.graph.Ask(ctx, graph.Question{Op: "listing the Teams apps of a person", Path: "users/" + user + "/teamwork/installedApps"}))
	if f.usual = f.rows == 0; f.usual {
		f.seen = "the first person has none"
	}
	return f
}

func catalog(ctx context.Context, a *asker) found {
	f := counted(a.graph.Ask(ctx, graph.Question{Op: "listing the organisation's own apps", Path: "appCatalogs/teamsApps",
		Query: url.Values{"$filter": {"distributionMethod eq 'organization'"}}}))
	if f.usual = f.rows == 0; f.usual {
		f.seen = "the organisation has no apps of its own"
	}
	return f
}

func (a *asker) applications(ctx context.Context) (graph.Answered, error) {
	return a.graph.Ask(ctx, graph.Question{Op: "listing the applications", Path: "applications", Query: one})
}

// owned lists applications, of which this permission shows those that are owned.
func owned(ctx context.Context, a *asker) found {
	f := counted(a.applications(ctx))
	if f.usual = f.rows == 0; f.usual {
		f.seen = "reeve owns no application"
	}
	return f
}

func reportSettings(_ context.Context, a *asker) found {
	concealed, err := a.settings()
	switch {
	case err != nil:
		return found{err: err}
	case concealed:
		return found{rows: 1, seen: "the reports conceal names"}
	}
	return found{rows: 1, seen: "the reports show names"}
}

// usageReport reads the beginning of a report.
func usageReport(ctx context.Context, a *asker) found {
	address, err := a.graph.Report(ctx, "reports/getOffice365ActiveUserDetail(period='D7')")
	if err != nil {
		return found{err: err}
	}
	rows, more, names, err := a.download(ctx, address)
	if err != nil {
		return found{err: err}
	}
	f := found{rows: rows, more: more}
	looks := len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return !concealedName.MatchString(n) })
	bySetting, err := a.settings()
	told := err == nil
	if looks || told && bySetting {
		f.notes = append(f.notes, concealment(looks, told, bySetting))
	}
	return f
}

func concealment(looks, told, bySetting bool) Finding {
	f := Finding{
		Remedy:  "clear \"Display concealed user, group, and site names in all reports\" at Microsoft 365 admin center > Settings > Org settings > Services > Reports",
		Who:     "a Global Administrator",
		Waiting: "some minutes after the change",
	}
	switch {
	case looks && told && bySetting:
		f.Cause = "the reports conceal names: the tenant's setting says so, and identifiers stand where names should"
	case looks && told:
		f.Cause = "identifiers stand where names should, though the tenant's setting lets the reports show names: it was changed a short time ago"
		f.Remedy, f.Who = "check again later", ""
	case looks:
		f.Cause = "the reports conceal names: identifiers of 32 digits stand where names should"
	default:
		f.Cause = "the tenant's setting makes the reports conceal names"
	}
	return f
}

// concealedName is the identifier that stands for a name.
var concealedName = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)

// reportSample is how much of a report is read: some hundred rows.
const reportSample = 256 << 10

// download reads the beginning of a report: how many people are in it, whether there
// are more, and the names of the first. The address is permission enough, so that no token is sent.
func (a *asker) download(ctx context.Context, address string) (rows int, more bool, names []string, err error) {
	const op = "downloading a usage report"
	u, err := url.Parse(address)
	if err != nil {
		return 0, false, nil, errors.New(op + ": its address cannot be read")
	}
	failed := func(err error) error {
		return &m365.Error{Op: op, URL: u.Host, Kind: m365.ErrTransient, Err: err, Remedy: "see that " + u.Host + " can be reached from here"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, false, nil, errors.New(op + ": its address cannot be used")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // the address is a secret
		}
		return 0, false, nil, failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, false, nil, failed(fmt.Errorf("it answered %d", resp.StatusCode))
	}
	sample := &io.LimitedReader{R: resp.Body, N: reportSample}
	table := csv.NewReader(sample)
	table.FieldsPerRecord = -1
	header, err := table.Read()
	if err != nil {
		return 0, false, nil, failed(fmt.Errorf("it is no table: %w", err))
	}
	name := slices.IndexFunc(header, func(s string) bool { return strings.EqualFold(strings.Trim(s, "\ufeff\" "), "User Principal Name") })
	for {
		row, err := table.Read()
		switch {
		case sample.N <= 0: // the last row may be half of one
			return max(rows, 1), true, names, nil
		case err == io.EOF:
			return rows, false, names, nil
		case err != nil:
			return 0, false, nil, failed(fmt.Errorf("it breaks off: %w", err))
		}
		rows++
		if name >= 0 && name < len(row) && len(names) < 50 && row[name] != "" {
			names = append(names, row[name])
		}
	}
}

// pageViews asks a Log Analytics workspace for a page view.
func pageViews(ctx context.Context, a *asker) found {
	if a.workspace == "" {
		return found{untried: "it takes a Log Analytics workspace: give its ID with --workspace"}
	}
	if uuid.Validate(a.workspace) != nil {
		return found{err: fmt.Errorf("the workspace ID %.60q is not a GUID: see the workspace's overview in the Azure portal", a.workspace)}
	}
	const op = "asking the Log Analytics workspace for a page view"
	resp, err := a.logs.Do(ctx, m365.Call{Op: op, Method: http.MethodPost, URL: strings.TrimSuffix(a.cloud.Logs, "/") + "/v1/workspaces/" + a.workspace + "/query",
		Body: []byte(`{"query":"AppPageViews | take 1"}`)})
	if err != nil {
		return found{err: err}
	}
	defer resp.Body.Close()
	var body struct {
		Tables []struct {
			Rows []json.RawMessage `json:"rows"`
		} `json:"tables"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || len(body.Tables) == 0 {
		return found{err: &m365.Error{Op: op, URL: a.cloud.Logs, Status: resp.StatusCode, Kind: m365.ErrTransient, Message: "not the documented answer", Err: err}}
	}
	return found{rows: len(body.Tables[0].Rows)}
}

// dlp is the content type that is the dlp feed's alone.
const dlp = "DLP.All"

// usualTypes are the content types of the audit feed when none are configured.
var usualTypes = []string{"Audit.AzureActiveDirectory", "Audit.Exchange", "Audit.SharePoint", "Audit.General"}

// lookBack is for how many days content is looked for: weekends may be quiet, and after
// seven days it is forgotten.
const lookBack = 6

// hasContent looks for content of a type, the newest day first.
func (a *asker) hasContent(ctx context.Context, contentType string) (bool, error) {
	end := a.now()
	for day := range lookBack {
		end := end.AddDate(0, 0, -day)
		for _, err := range a.activity.Content(ctx, contentType, end.Add(-24*time.Hour), end) {
			return err == nil, err
		}
	}
	return false, nil
}

// audit looks for content of the types.
// That none is subscribed yet is usual before the first import.
func audit(types func(*asker) []string) func(context.Context, *asker) found {
	return func(ctx context.Context, a *asker) found {
		subscriptions, err := a.subscriptions()
		if err != nil {
			return found{err: err}
		}
		var on, full, bare []string
		for _, t := range types(a) {
			if slices.ContainsFunc(subscriptions, func(s activity.Subscription) bool { return s.Enabled() && strings.EqualFold(s.ContentType, t) }) {
				on = append(on, t)
			}
		}
		if len(on) == 0 {
			return found{usual: true, seen: "no subscription yet: the first import starts it, and the first content comes up to 12 hours later"}
		}
		for _, t := range on {
			some, err := a.hasContent(ctx, t)
			switch {
			case err != nil:
				return found{err: err}
			case some:
				full = append(full, t)
			default:
				bare = append(bare, t)
			}
		}
		f := found{rows: len(full), seen: "content of the last days in " + strings.Join(full, ", ")}
		switch {
		case len(full) == 0:
			f.seen = "no content of the last days in " + strings.Join(bare, ", ")
		case len(bare) > 0:
			f.seen += "; none in " + strings.Join(bare, ", ")
		}
		if len(full) == 0 && slices.Equal(on, []string{dlp}) {
			return found{usual: true, seen: "no event within 6 days"}
		}
		return f
	}
}

// events looks for content of data loss prevention, which is listed by the other permission.
func events(ctx context.Context, a *asker) found {
	f := audit(func(*asker) []string { return []string{dlp} })(ctx, a)
	if errors.Is(f.err, m365.ErrForbidden) {
		return found{untried: "listing the events takes ActivityFeed.Read"}
	}
	return f
}

// byPermission gives the question that tries a permission.
func byPermission(p permission.Permission) (question, bool) {
	q, ok := questions[p.String()]
	return q, ok
}
