package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
)

// Question asks Graph for the first page of a list, which changes nothing: by it a
// caller sees whether its permissions work.
type Question struct {
	Op    string // gerund, for errors
	Path  string // below /v1.0/, whose parts are escaped already
	Query url.Values
}

// Answered is what a [Question] brought.
type Answered struct {
	IDs  []string // of the entries; empty where one has none
	More bool     // there are further pages
}

// Ask asks a question. Nothing is added to Graph's refusal: whoever asks knows which
// permission was tried.
func (c *Client) Ask(ctx context.Context, q Question) (Answered, error) {
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: q.Op, Method: http.MethodGet, URL: graphURL(c.cloud, q.Path, q.Query), MaxBody: maxPageBody})
	if err != nil {
		return Answered{}, err
	}
	var body struct {
		Value *[]struct {
			ID string `json:"id"`
		} `json:"value"`
		Next string `json:"@odata.nextLink"`
	}
	if err := decode(q.Op, resp, &body); err != nil {
		return Answered{}, err
	}
	if body.Value == nil {
		return Answered{}, unexpected(q.Op, resp, fmt.Errorf("it holds no list"))
	}
	a := Answered{IDs: []string{}, More: body.Next != ""}
	for _, e := range *body.Value {
		a.IDs = append(a.IDs, e.ID)
	}
	return a, nil
}

// ConcealsNames reports whether usage reports show identifiers in place of names.
func (c *Client) ConcealsNames(ctx context.Context) (bool, error) {
	op := "reading the settings of the usage reports"
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: graphURL(c.cloud, "admin/reportSettings", nil)})
	if err != nil {
		return false, err
	}
	var body struct {
		Conceals *bool `json:"displayConcealedNames"`
		// Value is where the page's example has it.
		Value struct {
			Conceals *bool `json:"displayConcealedNames"`
		} `json:"value"`
	}
	if err := decode(op, resp, &body); err != nil {
		return false, err
	}
	for _, says := range []*bool{body.Conceals, body.Value.Conceals} {
		if says != nil {
			return *says, nil
		}
	}
	return false, unexpected(op, resp, errors.New("it does not say whether names are concealed"))
}

// Report asks for a usage report, such as
// reports/getOffice365ActiveUserDetail(period='D7'), and returns the address where it
// lies as CSV. The address is permission enough, for some minutes: it is a secret, and
// no access token is to be sent there.
func (c *Client) Report(ctx context.Context, path string) (address string, err error) {
	op := "asking for a usage report"
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: graphURL(c.cloud, path, nil), Redirected: true})
	if err != nil {
		return "", err
	}
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", unexpected(op, resp, errors.New("it does not say where the report lies"))
	}
	return u.String(), nil
}

// GrantedRole is a permission that an application was given, as an app role of another
// one, its resource.
type GrantedRole struct {
	RoleID       string
	ResourceID   string // object ID of the resource's service principal
	ResourceName string
}

// GrantedRoles lists the permissions that an application was given, by its client ID.
func (c *Client) GrantedRoles(ctx context.Context, clientID string) ([]GrantedRole, error) {
	op := "listing the permissions that were granted to application " + clientID
	if err := checkID(op, "client ID", clientID); err != nil {
		return nil, err
	}
	page := graphURL(c.cloud, "servicePrincipals(appId='"+clientID+"')/appRoleAssignments", url.Values{"$top": {pageSize}})
	var all []GrantedRole
	for pages := 0; page != ""; pages++ {
		if pages >= 20 { // more permissions than there are
			return nil, fmt.Errorf("%s: the list does not end", op)
		}
		resp, err := c.do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: page, MaxBody: maxObjectBody}, needsRead)
		if err != nil {
			return nil, err
		}
		var body struct {
			Value *[]struct {
				RoleID       string `json:"appRoleId"`
				ResourceID   string `json:"resourceId"`
				ResourceName string `json:"resourceDisplayName"`
			} `json:"value"`
			Next string `json:"@odata.nextLink"`
		}
		if err := decode(op, resp, &body); err != nil {
			return nil, err
		}
		if body.Value == nil {
			return nil, unexpected(op, resp, errors.New("it holds no list"))
		}
		for _, a := range *body.Value {
			all = append(all, GrantedRole(a))
		}
		if err := c.checkOrigin(body.Next); err != nil {
			return nil, fmt.Errorf("%s: the link to the next page: %w", op, err)
		}
		page = body.Next
	}
	return all, nil
}

// Resource is a service principal that offers permissions: an API.
type Resource struct {
	ObjectID string
	ClientID string
	Name     string
	Roles    map[string]string // names of permissions by the ID of the app role
}

// Resource reads which permissions a service principal offers, by its object ID.
func (c *Client) Resource(ctx context.Context, objectID string) (Resource, error) {
	op := "reading which permissions service principal " + objectID + " offers"
	if err := checkID(op, "object ID", objectID); err != nil {
		return Resource{}, err
	}
	var body struct {
		ID       string `json:"id"`
		ClientID string `json:"appId"`
		Name     string `json:"displayName"`
		Roles    []struct {
			ID    string  `json:"id"`
			Value *string `json:"value"`
		} `json:"appRoles"`
	}
	address := graphURL(c.cloud, "servicePrincipals/"+objectID, url.Values{"$select": {"id,appId,displayName,appRoles"}})
	if _, err := c.read(ctx, op, address, needsRead, &body); err != nil {
		return Resource{}, err
	}
	if !strings.EqualFold(body.ID, objectID) {
		return Resource{}, otherObject(op, body.ID)
	}
	r := Resource{body.ID, body.ClientID, body.Name, map[string]string{}}
	for _, role := range body.Roles {
		if role.Value != nil {
			r.Roles[strings.ToLower(role.ID)] = *role.Value
		}
	}
	return r, nil
}
