package activity

import (
	"net/http"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Starting, stopping and listing subscriptions.

func noSubscription() error {
	return badActivity("AF20022", "No subscription found for the specified content type.")
}

// subscriptionBody is a subscription as it is listed.
type subscriptionBody struct {
	ContentType string       `json:"contentType"`
	Status      string       `json:"status"` // enabled or disabled
	Webhook     *webhookBody `json:"webhook"`
}

// webhookBody is a webhook as it is listed.
type webhookBody struct {
	Status     string  `json:"status"` // enabled, disabled or expired
	Address    string  `json:"address"`
	AuthID     *string `json:"authId"`
	Expiration *string `json:"expiration"`
}

func describeWebhook(w *tenant.Webhook, now time.Time) *webhookBody {
	if w == nil {
		return nil
	}
	body := &webhookBody{Status: "enabled", Address: w.Address}
	if w.AuthID != "" {
		body.AuthID = &w.AuthID
	}
	if !w.Expires.IsZero() {
		expiration := w.Expires.UTC().Format(activityTime)
		body.Expiration = &expiration
	}
	switch {
	case w.Disabled:
		body.Status = "disabled"
	case w.Expired(now):
		body.Status = "expired"
	}
	return body
}

func (e *API) startSubscription(w http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	webhook, err := e.readWebhook(c)
	if err != nil {
		return err
	}
	// Nobody is called for a start that would be refused anyway.
	err = e.Audit.CheckStart(contentType, webhook)
	if err == nil && webhook != nil {
		if err := e.validateWebhook(c.Context(), webhook); err != nil {
			return err
		}
	}
	if err == nil {
		err = e.Audit.StartSubscription(contentType, webhook)
	}
	switch err {
	case nil:
	case tenant.ErrStartedLately:
		// Documented: one has to wait 15 minutes; with which error, is [K].
		return tooManyRequests(c)
	case tenant.ErrAlreadyEnabled:
		return badActivity("AF20024", "The subscription is already enabled. No property change.") // [K]
	default:
		return noSubscription()
	}
	origin.WriteJSON(w, http.StatusOK, subscriptionBody{contentType, "enabled", describeWebhook(webhook, e.Cloud.Now())})
	return nil
}

func (e *API) stopSubscription(w http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	if err := e.Audit.StopSubscription(contentType); err != nil {
		return noSubscription()
	}
	w.WriteHeader(http.StatusOK) // with an empty body
	return nil
}

// listSubscriptions answers with all that were ever started; a stopped one is
// listed as disabled [K].
func (e *API) listSubscriptions(w http.ResponseWriter, _ *activityCall) error {
	list := []subscriptionBody{}
	for _, s := range e.Audit.Subscriptions() {
		status := "disabled"
		if s.Enabled {
			status = "enabled"
		}
		list = append(list, subscriptionBody{s.ContentType, status, describeWebhook(s.Webhook, e.Cloud.Now())})
	}
	origin.WriteJSON(w, http.StatusOK, list)
	return nil
}
