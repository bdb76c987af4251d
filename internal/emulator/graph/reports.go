package graph

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Who may read usage reports: an application with the permission, and people who
// hold one of the roles besides
// (learn.microsoft.com/graph/reportroot-authorization). The refusal is as users
// report it (github.com/microsoftgraph/msgraph-sdk-dotnet/issues/317).
var (
	readReports        = access{permissions: []string{"Reports.Read.All"}, refuse: reportsRefuse}
	readReportSettings = access{permissions: []string{"ReportSettings.Read.All", "ReportSettings.ReadWrite.All"}, refuse: reportsRefuse}
	reportReaders      = []string{directory.GlobalAdministrator, directory.GlobalReader, directory.ReportsReader}
)

func reportsRefuse(*request, access) *graphError {
	return refusal(http.StatusForbidden, "S2SUnauthorized", "Invalid scope claims/roles.")
}

func (q *request) mayReadReports() *graphError {
	if !q.caller.App() && !q.isAdmin(reportReaders) {
		return refusal(http.StatusForbidden, "S2SUnauthorized", "Invalid permission.")
	}
	return nil
}

// getReportSettings answers the object itself; the page's example has it in a
// value [K].
func (q *request) getReportSettings() (answer, *graphError) {
	if err := q.mayReadReports(); err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, entity{"id": q.Directory.TenantID, "displayConcealedNames": q.Services.State().ConcealNames})
}

// columns are those of getOffice365ActiveUserDetail.
var columns = []string{
	"Report Refresh Date", "User Principal Name", "Display Name", "Is Deleted", "Deleted Date",
	"Has Exchange License", "Has OneDrive License", "Has SharePoint License", "Has Skype For Business License", "Has Yammer License", "Has Teams License",
	"Exchange Last Activity Date", "OneDrive Last Activity Date", "SharePoint Last Activity Date", "Skype For Business Last Activity Date",
	"Yammer Last Activity Date", "Teams Last Activity Date",
	"Exchange License Assign Date", "OneDrive License Assign Date", "SharePoint License Assign Date", "Skype For Business License Assign Date",
	"Yammer License Assign Date", "Teams License Assign Date", "Assigned Products",
}

const (
	reportLag = 2 * 24 * time.Hour // of the report behind the day
	fileLife  = 5 * time.Minute    // "a few minutes"
	mostFiles = 1000
	downloads = "/data/download/"
)

// reportActiveUsers sends the client to where the report lies as CSV.
func (q *request) reportActiveUsers() (answer, *graphError) {
	if err := q.mayReadReports(); err != nil {
		return answer{}, err
	}
	if period := q.keys[0].value; !slices.Contains([]string{"D7", "D30", "D90", "D180"}, period) {
		return answer{}, refusal(http.StatusBadRequest, "InvalidArgument", "Invalid period value specified: '%s'. Supported period values are: 'D7', 'D30', 'D90', 'D180'.", origin.Printable(period)) // [K]
	}
	var text strings.Builder
	text.WriteString("\ufeff") // as spreadsheets want it; no page tells [K]
	rows := csv.NewWriter(&text)
	rows.Write(columns) // A strings.Builder takes everything, here and below.
	state := q.Services.State()
	refreshed := q.Cloud.Now().UTC().Add(-reportLag).Format(time.DateOnly)
	users := q.view.Users()
	if state.Empty || state.Unlicensed {
		users = nil // without a licence the report has no rows [K]
	}
	for _, u := range users {
		name, address := u.DisplayName, u.UserPrincipalName
		if state.ConcealNames {
			name, address = q.conceal(u.DisplayName), q.conceal(u.UserPrincipalName)
		}
		since := u.CreatedDateTime.UTC().Format(time.DateOnly)
		rows.Write([]string{
			refreshed, address, name, "False", "", "True", "True", "True", "False", "False", "True",
			refreshed, "", refreshed, "", "", refreshed, since, since, since, "", "", since, "MICROSOFT 365 E5",
		})
	}
	rows.Flush()
	at := downloads + rand.Text()
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.Cloud.Now()
	if q.files == nil || len(q.files) >= mostFiles {
		q.files = map[string]file{}
	}
	q.files[at] = file{text.String(), now.Add(fileLife)}
	return answer{status: http.StatusFound, location: q.Cloud.Hosts.Base(q.r, origin.Graph) + at}, nil
}

// conceal returns the identifier that stands for a name: always the same in a
// tenant.
func (q *request) conceal(name string) string {
	sum := sha256.Sum256([]byte(q.Directory.TenantID + name))
	return strings.ToUpper(hex.EncodeToString(sum[:16]))
}

// file is what can be downloaded until a time.
type file struct {
	text  string
	until time.Time
}

// downloadOperation is the download of a report by an address that is permission
// enough. With Microsoft it is at another host.
var downloadOperation = origin.Operation{
	Name: "downloadReport", Request: "GET " + downloads + "{key}", Source: "https://learn.microsoft.com/graph/api/reportroot-getoffice365activeuserdetail#response",
}

func isDownload(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, downloads)
}

func (e *API) download(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	f, ok := e.files[r.URL.Path]
	e.mu.Unlock()
	if !ok || !e.Cloud.Now().Before(f.until) {
		e.writeError(w, r, refusal(http.StatusForbidden, "Forbidden", "The link has expired.")) // [K]
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="Office365ActiveUserDetail.csv"`)
	io.WriteString(w, f.text) // The client is gone when this fails.
}
