package emulator

import "net/http"

// manage is the origin of the Office 365 Management APIs, of which the Activity
// API is emulated.
func (e *Emulator) manage() api {
	return api{
		name:      manageAPI,
		handler:   e.activityHandler(),
		operation: activityOperation,
		refuse:    refuseManage,
	}
}

// refuseManage words an error as the Management Activity API does. AF50000 is
// documented as an internal error after which to try again.
func refuseManage(w http.ResponseWriter, _ *http.Request, f failure) {
	code := "AF50000"
	switch f.status {
	case http.StatusTooManyRequests:
		code = "AF429"
	case http.StatusNotImplemented:
		code = "NotImplemented"
	}
	writeJSON(w, f.status, map[string]any{"error": map[string]any{"code": code, "message": f.text}})
}

// logs is the origin of Azure Monitor's queries, of which none is emulated yet.
func (e *Emulator) logs() api {
	return api{
		name:      logsAPI,
		handler:   http.NotFoundHandler(),
		operation: func(*http.Request) string { return "" },
		refuse: func(w http.ResponseWriter, _ *http.Request, f failure) {
			writeJSON(w, f.status, map[string]any{"error": map[string]any{"code": http.StatusText(f.status), "message": f.text}})
		},
	}
}
