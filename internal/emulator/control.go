package emulator

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// The control API is the emulator's own, for those who run it: plain HTTP and
// JSON, with a bearer secret, at an origin of its own. Nothing unkind happens to
// it, and its calls are not counted.

// controlRoute is one thing that the control API can be asked to do.
type controlRoute struct {
	request string // method and path
	does    string
	serve   func(*Emulator, *http.Request) (any, error) // nil means 204
}

// controlError is a refusal of the control API.
type controlError struct {
	status int
	text   string
}

func (c *controlError) Error() string { return c.text }

func badControl(err error) error { return &controlError{http.StatusBadRequest, err.Error()} }

// faultJSON is a fault as the control API shows it.
type faultJSON struct {
	Fault    string `json:"fault"` // as ParseFault reads it
	Ambient  bool   `json:"ambient"`
	Matched  int    `json:"matched"`
	Happened int    `json:"happened"`
}

type clockJSON struct {
	Now   time.Time `json:"now"`
	Ahead string    `json:"ahead"` // of the machine's clock, as a duration
}

type delaysJSON struct {
	Delays string `json:"delays"` // as ParseDelays reads it
}

type operationJSON struct {
	API       string `json:"api"`
	Operation string `json:"operation"`
	Request   string `json:"request"`
	Source    string `json:"source"`
}

func controlRoutes() []controlRoute {
	return []controlRoute{
		{"GET /faults", "the faults and how often they happened", func(e *Emulator, _ *http.Request) (any, error) { return e.faultList(), nil }},
		{"POST /faults", `inject a fault: {"fault": "graph/addKey:lost-response,times=2"}`, (*Emulator).controlInject},
		{"DELETE /faults", "forget the faults and their counts, those of the command line too; what happens by itself goes on", func(e *Emulator, _ *http.Request) (any, error) { e.cloud.Faults.Clear(); return nil, nil }},
		{"GET /clock", "the tenant's clock", func(e *Emulator, _ *http.Request) (any, error) { return e.clock(), nil }},
		{"POST /clock", `step the tenant's clock: {"step": "-5m"}`, (*Emulator).controlClock},
		{"GET /delays", "how far the replicas lag", func(e *Emulator, _ *http.Request) (any, error) { return delaysJSON{e.cloud.Delays().String()}, nil }},
		{"PUT /delays", `change that: {"delays": "reads=0s-30s,keys=4s-60s"}, or none, or usual`, (*Emulator).controlDelays},
		{"POST /keys/roll", `sign tokens with the next key, and forget the last one or keep it: {"keep": false}`, (*Emulator).controlRoll},
		{"POST /devicecodes/{code}/approve", `what a person does at the page of a device code: {"user": "admin@contoso.onmicrosoft.com"}`, (*Emulator).controlApprove},
		{"POST /devicecodes/{code}/decline", "the same, declining", func(e *Emulator, r *http.Request) (any, error) {
			if err := e.entra.DeclineDeviceCode(r.PathValue("code")); err != nil {
				return nil, badControl(err)
			}
			return nil, nil
		}},
		{"POST /applications/{clientId}/grants", `give an application a permission: {"permission": "graph/Application.ReadWrite.All"}, or vault/certificates/all`, (*Emulator).controlGrant},
		{"PUT /applications/{clientId}/blocked", `let Conditional Access refuse an application: {"blocked": true}`, (*Emulator).controlBlock},
		{"PUT /certificates/{thumbprint}/revoked", `let a certificate, by its SHA-1, be revoked: {"revoked": true}`, (*Emulator).controlRevoke},
		{"POST /issuers", `make the issuer of federated credentials known: {"issuer": "https://…", "jwks": {"keys": […]}}`, (*Emulator).controlIssuer},
		{"PUT /audit", `turn the audit log off or on: {"recording": false}`, (*Emulator).controlRecording},
		{"GET /services", "the state of licences, reports, Teams and calls", func(e *Emulator, _ *http.Request) (any, error) { return e.graph.Services.State(), nil }},
		{"PUT /services", `change that, to false what is not named: {"concealNames": false, "unlicensed": false, "empty": true}`, (*Emulator).controlServices},
		{"GET /calls", "what was asked for, by whom and how often", func(e *Emulator, _ *http.Request) (any, error) {
			return map[string]any{"calls": e.Calls()}, nil
		}},
		{"DELETE /calls", "count from now on", func(e *Emulator, _ *http.Request) (any, error) { e.ForgetCalls(); return nil, nil }},
		{"GET /operations", "what is emulated", func(e *Emulator, _ *http.Request) (any, error) { return e.operationList(), nil }},
		{"POST /state", "save the tenant to the file that the emulator was started with", (*Emulator).controlSave},
	}
}

// control returns the handler of the control API.
func (e *Emulator) control() http.Handler {
	mux := http.NewServeMux()
	routes := controlRoutes()
	for _, route := range routes {
		mux.HandleFunc(route.request, func(w http.ResponseWriter, r *http.Request) {
			answer, err := route.serve(e, r)
			var refused *controlError
			switch {
			case errors.As(err, &refused):
				writeControlError(w, refused.status, refused.text)
			case err != nil:
				e.cloud.Log.Error("answering the control API", "request", route.request, "error", err)
				writeControlError(w, http.StatusInternalServerError, err.Error())
			case answer == nil:
				w.WriteHeader(http.StatusNoContent)
			default:
				origin.WriteJSON(w, http.StatusOK, answer)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var known []string
		for _, route := range routes {
			known = append(known, route.request+": "+route.does)
		}
		origin.WriteJSON(w, http.StatusNotFound, map[string]any{
			"error": "The control API does not know " + origin.Describe(r) + ".", "routes": known,
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const mostBody = 64 << 10
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(secret), []byte(e.kept.ControlToken)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeControlError(w, http.StatusUnauthorized, "The bearer token is missing or wrong: it is CONTROL_TOKEN of the client's variables.")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func writeControlError(w http.ResponseWriter, status int, text string) {
	origin.WriteJSON(w, status, map[string]string{"error": text})
}

// readControl reads a body that is one JSON object of known members.
func readControl(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return &controlError{http.StatusBadRequest, "The body cannot be read: " + origin.Printable(err.Error()) + "."}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &controlError{http.StatusBadRequest, "The body must be one JSON object."}
	}
	return nil
}

func (e *Emulator) faultList() any {
	list := []faultJSON{}
	for _, c := range e.Faults() {
		list = append(list, faultJSON{c.Fault.String(), c.Ambient, c.Matched, c.Happened})
	}
	return map[string]any{"faults": list}
}

func (e *Emulator) controlInject(r *http.Request) (any, error) {
	var body struct {
		Fault string `json:"fault"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	f, err := origin.ParseFault(body.Fault)
	if err == nil {
		err = f.Check(e.apis, ownFaults)
	}
	if err != nil {
		return nil, badControl(err)
	}
	e.Inject(f)
	return e.faultList(), nil
}

func (e *Emulator) clock() clockJSON {
	return clockJSON{e.cloud.Now().UTC(), e.tenant.Ahead().String()}
}

func (e *Emulator) controlClock(r *http.Request) (any, error) {
	var body struct {
		Step string `json:"step"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	const most = 20 * 365 * 24 * time.Hour
	d, err := time.ParseDuration(body.Step)
	if total := e.tenant.Ahead() + d; err != nil || d > most || d < -most || total > most || total < -most {
		return nil, &controlError{http.StatusBadRequest, "The step must be a duration such as 1h or -5m, and all of them together at most 20 years."}
	}
	e.StepClock(d)
	return e.clock(), nil
}

func (e *Emulator) controlDelays(r *http.Request) (any, error) {
	var body delaysJSON
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	d, err := origin.ParseDelays(body.Delays)
	if err != nil {
		return nil, badControl(err)
	}
	e.cloud.SetDelays(d)
	return delaysJSON{d.String()}, nil
}

func (e *Emulator) controlRoll(r *http.Request) (any, error) {
	var body struct {
		Keep *bool `json:"keep"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Keep == nil {
		return nil, &controlError{http.StatusBadRequest, "The member keep is missing."}
	}
	return nil, e.keys.Roll(*body.Keep)
}

func (e *Emulator) controlApprove(r *http.Request) (any, error) {
	var body struct {
		User string `json:"user"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if err := e.entra.ApproveDeviceCode(r.PathValue("code"), body.User); err != nil {
		return nil, badControl(err)
	}
	return nil, nil
}

func (e *Emulator) operationList() any {
	list := []operationJSON{}
	for _, a := range e.apis {
		for _, o := range a.Operations {
			list = append(list, operationJSON{a.Name, o.Name, o.Request, o.Source})
		}
	}
	return map[string]any{"operations": list}
}

func (e *Emulator) controlSave(*http.Request) (any, error) {
	if e.stateFile == "" {
		return nil, &controlError{http.StatusConflict, "The emulator was started without a state file."}
	}
	if err := e.Save(); err != nil {
		return nil, err
	}
	return map[string]string{"file": e.stateFile}, nil
}
