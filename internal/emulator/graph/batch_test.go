package graph_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// statuses returns the status of each answer of a $batch, by its id.
func statuses(a answer) map[string]int {
	all := map[string]int{}
	list, _ := a.body["responses"].([]any)
	for _, one := range list {
		o, _ := one.(map[string]any)
		id, _ := o["id"].(string)
		status, _ := o["status"].(float64)
		all[id] = int(status)
	}
	return all
}

func TestBatch(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	json := object{"Content-Type": "application/json"}
	a := w.must(t, 200, "POST", "/$batch", object{"requests": []object{
		{"id": "1", "method": "GET", "url": "/applications/" + id + "?$select=id"},
		{"id": "2", "method": "GET", "url": "/applications/" + uuid.NewString()},
		{"id": "3", "method": "PATCH", "url": "applications/" + id, "body": object{"notes": "x"}, "headers": json, "dependsOn": []string{"1"}},
		{"id": "4", "method": "PATCH", "url": "/applications/" + id, "body": object{"notes": "y"}, "headers": json, "dependsOn": []string{"2"}},
		{"id": "5", "method": "GET", "url": "/applications/" + id, "dependsOn": []string{"4"}},
		{"id": "6", "method": "GET", "url": "/applications/$count", "headers": object{"ConsistencyLevel": "eventual"}},
		{"id": "7", "method": "GET", "url": "/drives"},
		{"id": "8", "method": "POST", "url": "/$batch", "body": object{}, "headers": json},
	}})
	if diff := cmp.Diff(map[string]int{"1": 200, "2": 404, "3": 204, "4": 424, "5": 424, "6": 200, "7": 501, "8": 501}, statuses(a)); diff != "" {
		t.Errorf("%s %s", diff, a.text)
	}
	if got := w.must(t, 200, "GET", "/applications/"+id, nil); got.body["notes"] != "x" {
		t.Errorf("after the batch: %s", got.text)
	}
	// A batch may do no more than its token may.
	powerless := caller{oid: uuid.NewString(), appID: uuid.NewString()}
	a = w.do(t, powerless, "POST", "/$batch", object{"requests": []object{{"id": "1", "method": "GET", "url": "/applications", "headers": object{"Authorization": "Bearer " + w.token(t, admin)}}}})
	if diff := cmp.Diff(map[string]int{"1": 403}, statuses(a)); diff != "" {
		t.Errorf("%s %s", diff, a.text)
	}
}

func TestBatchIsRefused(t *testing.T) {
	w := newWorld(t)
	get := func(id string) object { return object{"id": id, "method": "GET", "url": "/applications"} }
	var many []object
	for i := range 21 {
		many = append(many, get(fmt.Sprint(i)))
	}
	w.must(t, 200, "POST", "/$batch", object{"requests": many[:20]})
	for name, body := range map[string]any{
		"nothing":                       object{},
		"no requests":                   object{"requests": []object{}},
		"too many":                      object{"requests": many},
		"ids that differ in case alone": object{"requests": []object{get("a"), get("A")}},
		"no id":                         object{"requests": []object{get("")}},
		"an absolute url":               object{"requests": []object{{"id": "1", "method": "GET", "url": "https://graph.microsoft.com/v1.0/applications"}}},
		"no method":                     object{"requests": []object{{"id": "1", "url": "/applications"}}},
		"a body without type":           object{"requests": []object{{"id": "1", "method": "POST", "url": "/applications", "body": object{}}}},
		"an unknown dependency":         object{"requests": []object{{"id": "1", "method": "GET", "url": "/applications", "dependsOn": []string{"2"}}}},
		"a later dependency":            object{"requests": []object{{"id": "1", "method": "GET", "url": "/applications", "dependsOn": []string{"2"}}, get("2")}},
		"rubbish":                       "[",
	} {
		if a := w.do(t, admin, "POST", "/$batch", body); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}

func FuzzBatch(f *testing.F) {
	w := newWorld(f)
	bearer := w.token(f, admin)
	f.Add(`{"requests":[{"id":"1","method":"GET","url":"/applications"}]}`)
	f.Add(`{"requests":[{"id":"1","method":"G T","url":"/%zz","headers":{"\n":"x"}}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		if a := w.send(t, bearer, "POST", "/$batch", body); a.status != 200 && a.status != 400 {
			t.Errorf("%d %s", a.status, a.text)
		}
	})
}
