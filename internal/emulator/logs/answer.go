package logs

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Kinds of faults that only this API knows.
const (
	Partial origin.FaultKind = "partial-error" // queries: half of the rows, and beside them an error
	Timeout origin.FaultKind = "query-timeout" // queries: 504
)

func timedOut() error {
	return &failure{status: http.StatusGatewayTimeout, code: "GatewayTimeout", text: "The query did not end in time."} // the code is [K]
}

// answer is what a query gives.
type answer struct {
	Tables     []tableBody    `json:"tables"`
	Statistics map[string]any `json:"statistics,omitempty"`
	Render     map[string]any `json:"render,omitempty"`
	Error      any            `json:"error,omitempty"`
}

type tableBody struct {
	Name string `json:"name"`
	Table
}

// answer runs a query; the answer is nil when the workspace has no data at all.
func (e *API) answer(q *request, kind string, fault *origin.Fault) (*answer, error) {
	own := e.WorkspaceID
	if kind == apps {
		own = e.AppID
	}
	for _, id := range q.elsewhere {
		if !strings.EqualFold(id, own) {
			return nil, notEmulated("queries over several resources, such as %s", origin.Printable(id))
		}
	}
	switch {
	case fault != nil && fault.Kind != Partial:
		return nil, notEmulated("the fault %s of a query", fault.Kind)
	case e.Traffic == nil || len(e.Traffic.People) == 0:
		return nil, nil
	}
	table, err := e.run(q, kind)
	if err != nil {
		return nil, err
	}
	scanned := len(table.Rows)
	most, why := e.Rows, "there are more rows than an answer may have"
	if most <= 0 {
		most = usualRows
	}
	if fault != nil {
		most, why = len(table.Rows)/2, "a part of the data could not be read"
	}
	a := &answer{}
	if len(table.Rows) > most || fault != nil {
		table.Rows = table.Rows[:most]
		a.Error = partialError(why)
	}
	a.Tables = []tableBody{{"PrimaryResult", table}}
	if q.statistics {
		a.Statistics = map[string]any{"query": map[string]any{
			"executionTime": 0.0156, // seconds
			"datasetStatistics": []map[string]any{
				{"tableRowCount": len(table.Rows), "tableSize": 100 * len(table.Rows)},
			},
			"inputDatasetStatistics": map[string]any{"rows": map[string]any{"total": scanned, "scanned": scanned}},
		}}
	}
	if q.render {
		a.Render = map[string]any{"visualization": nil, "title": nil}
	}
	return a, nil
}

// partialError is what stands beside tables that are not complete.
func partialError(why string) any {
	return map[string]any{
		"code": "PartialError", "message": "There were some errors when processing your query.",
		"details": []map[string]any{{
			"code": "EngineError", "message": "Something went wrong processing your query on the server.",
			"innererror": map[string]any{
				"code": "-2133196797", "message": fmt.Sprintf("The result is not complete: %s.", why),
				"severity": 2, "severityName": "Error",
			},
		}},
	}
}
