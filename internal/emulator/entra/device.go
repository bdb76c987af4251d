package entra

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// deviceSignIn is a sign-in by device code under way.
type deviceSignIn struct {
	signIn
	userCode string
	state    deviceState
	expires  time.Time
}

type deviceState int

const (
	pending deviceState = iota
	approved
	declined
	redeemed
)

const (
	deviceLife = 15 * time.Minute
	devicePoll = 5 * time.Second // how often a client may ask
)

// deviceCodes answers the device authorization endpoints.
func (e *API) deviceCodes(v2 bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, err := e.startDevice(w, r, v2)
		if err != nil {
			e.writeRefusal(w, r, err)
			return
		}
		code := opaque(96)
		now := e.Cloud.Now()
		d.expires = now.Add(deviceLife)
		e.mu.Lock()
		e.devices.put(code, d, d.expires.Add(remembered), now)
		e.mu.Unlock()
		page := e.base(r) + "/common/oauth2/deviceauth"
		body := map[string]any{
			"user_code": d.userCode, "device_code": code,
			"message": fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", page, d.userCode),
		}
		if v2 {
			body["verification_uri"], body["expires_in"], body["interval"] = page, int(deviceLife/time.Second), int(devicePoll/time.Second)
		} else {
			body["verification_url"], body["expires_in"], body["interval"] = page, "900", "5"
		}
		entraHeaders(w)
		origin.WriteJSON(w, http.StatusOK, body)
	}
}

func (e *API) startDevice(w http.ResponseWriter, r *http.Request, v2 bool) (*deviceSignIn, error) {
	if err := readForm(w, r); err != nil {
		return nil, err
	}
	tenant := r.PathValue("tenant")
	if err := e.checkTenant(tenant, true); err != nil {
		return nil, err
	}
	// RFC 8628 has the parameters in the body; Azure's older tools send them
	// in the query.
	clientID := r.Form.Get("client_id")
	if clientID == "" {
		return nil, missingParameter("client_id")
	}
	view := e.meet(r).keys
	c, err := e.findClientAt(tenant, view, clientID)
	if err != nil {
		return nil, err
	}
	want, err := readWish(r.Form, v2)
	if err != nil {
		return nil, err
	}
	if _, err := e.findResource(view, want.resource); err != nil {
		return nil, err
	}
	return &deviceSignIn{signIn: signIn{clientID: c.sp.AppID, platform: devicePlatform(c), wish: want}, userCode: newUserCode()}, nil
}

// devicePlatform returns the platform of a client without a browser: one that is
// not public shows its credential.
func devicePlatform(c client) platform {
	if c.mayBePublic() {
		return native
	}
	return web
}

// newUserCode makes a code that people can type: nine letters and digits, none
// of them easily mistaken.
func newUserCode() string {
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789" // 32 of them, so that none is likelier
	b := make([]byte, 9)
	rand.Read(b) // crypto/rand never fails.
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return string(b)
}

// redeemDevice is the device code grant, with which a client asks again and
// again until somebody has decided.
func (e *API) redeemDevice(r request) (issued, error) {
	code := r.form.Get("device_code")
	if code == "" {
		code = r.form.Get("code") // as the v1 endpoint calls it
	}
	if code == "" {
		return issued{}, missingParameter("device_code")
	}
	c, err := e.findClientAt(r.PathValue("tenant"), r.keys, r.clientID)
	if err != nil {
		return issued{}, err
	}
	method, err := e.authenticateOn(devicePlatform(c), r, c)
	if err != nil {
		return issued{}, err
	}
	s, err := e.takeDevice(code, c.sp.AppID)
	if err != nil {
		return issued{}, err
	}
	return e.forPerson(r, c, method, s)
}

// takeDevice returns the sign-in of a device code, once, when it is approved.
func (e *API) takeDevice(code, clientID string) (signIn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Cloud.Now()
	d, ok := e.devices.get(code, now)
	switch {
	case !ok, d.clientID != clientID, d.state == redeemed:
		return signIn{}, refuse(70018, "Invalid verification code. The device_code was not recognized or was used before.")
	case d.state == declined:
		return signIn{}, refuse(70017, "The end user denied the authorization request.") // [K] the number
	case now.After(d.expires):
		return signIn{}, refuse(70019, "Verification code expired. Start the sign-in again.")
	case d.state == pending:
		return signIn{}, refuse(70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	}
	d.state = redeemed
	return d.signIn, nil
}

// findDevice returns the sign-in that waits under a user code, which may be
// typed in any case and with blanks.
func (e *API) findDevice(userCode string) (signIn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d, err := e.waiting(userCode)
	if err != nil {
		return signIn{}, err
	}
	return d.signIn, nil
}

// settle decides about the sign-in that waits under a user code; userID says who
// approved it.
func (e *API) settle(userCode string, state deviceState, userID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	d, err := e.waiting(userCode)
	if err != nil {
		return err
	}
	d.state, d.userID = state, userID
	return nil
}

// waiting is called with the mutex held.
func (e *API) waiting(userCode string) (*deviceSignIn, error) {
	userCode = strings.ToUpper(strings.Join(strings.Fields(userCode), ""))
	for _, held := range e.devices.held {
		if d := held.value; d.userCode == userCode && d.state == pending && !e.Cloud.Now().After(d.expires) {
			return d, nil
		}
	}
	return nil, refuse(70018, "Invalid verification code. That code didn't work; check it and try again.")
}

// ApproveDeviceCode does what a person does on the page of the device code flow
// who types the code, signs in and agrees: it consents to what the client asks
// for and that person may consent to, and lets the client have its tokens.
func (e *API) ApproveDeviceCode(userCode, userPrincipalName string) error {
	s, err := e.findDevice(userCode)
	if err != nil {
		return err
	}
	u, err := e.findUser(userPrincipalName)
	if err != nil {
		return err
	}
	c, missing, err := e.weigh(s, u)
	if err == nil {
		err = e.consentTo(c, u, s.wish, missing)
	}
	if err != nil {
		return err
	}
	return e.settle(userCode, approved, u.ID)
}

// DeclineDeviceCode does what a person does who types the code and cancels.
func (e *API) DeclineDeviceCode(userCode string) error { return e.settle(userCode, declined, "") }

// weigh finds out whether a person may let the client of a sign-in in, and what
// has yet to be consented to for that.
func (e *API) weigh(s signIn, u *directory.User) (client, []string, error) {
	c, err := e.findClient(e.Directory.View(0), s.clientID)
	if err == nil {
		err = e.admit(c, u)
	}
	if err != nil {
		return c, nil, err
	}
	missing, err := e.lacking(c, u, s.wish)
	return c, missing, err
}

// serveDevicePage is the page on which somebody types the code, picks who signs
// in, and approves or declines.
func (e *API) serveDevicePage(w http.ResponseWriter, r *http.Request) {
	err := e.checkTenant(r.PathValue("tenant"), true)
	if err == nil && r.ParseForm() != nil {
		err = refuse(9002313, "Invalid request. Request is malformed or invalid.")
	}
	if err != nil {
		e.writeErrorPage(w, err)
		return
	}
	userCode := r.PostForm.Get("user_code")
	if r.Method == http.MethodGet || userCode == "" {
		e.writePage(w, http.StatusOK, page{
			Title: "Enter code", Text: "Enter the code displayed on your app or device.", Input: "user_code", Values: []button{{"", "Next"}},
		})
		return
	}
	if err := e.decideDevice(w, r, userCode); err != nil {
		e.writeErrorPage(w, err)
	}
}

func (e *API) decideDevice(w http.ResponseWriter, r *http.Request, userCode string) error {
	s, err := e.findDevice(userCode)
	if err != nil {
		return err
	}
	decision, again := r.PostForm.Get("decision"), field{"user_code", userCode}
	if decision == "decline" {
		if err := e.DeclineDeviceCode(userCode); err != nil {
			return err
		}
		e.writePage(w, http.StatusOK, page{Title: "Declined", Text: "The device was not signed in. You can close this window."})
		return nil
	}
	if r.PostForm.Get("user") == "" {
		c, err := e.findClient(e.Directory.View(0), s.clientID)
		if err != nil {
			return err
		}
		e.writeSignInPage(w, question{client: c}, []field{again})
		return nil
	}
	u, err := e.findUser(r.PostForm.Get("user"))
	if err != nil {
		return err
	}
	c, missing, err := e.weigh(s, u)
	if err != nil {
		return err
	}
	if decision != "consent" {
		e.writeConsentPage(w, c, u, missing, again)
		return nil
	}
	if err := e.ApproveDeviceCode(userCode, u.UserPrincipalName); err != nil {
		return err
	}
	e.writePage(w, http.StatusOK, page{
		Title: "You have signed in",
		Text:  fmt.Sprintf("You have signed in to %s as %s. You may now close this window.", c.sp.DisplayName, u.UserPrincipalName),
	})
	return nil
}
