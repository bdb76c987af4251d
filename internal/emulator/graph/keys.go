package graph

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// holder is an application or a service principal as what holds credentials.
type holder struct {
	id, appID string
	owners    []string
	created   time.Time
	keys      *[]directory.KeyCredential
	passwords *[]directory.PasswordCredential
	rules     credentialRules
}

// changeHolder changes the credentials of the object that the path names.
func (q *request) changeHolder(f func(holder) *graphError) *graphError {
	if q.onApplication() {
		return q.changeApplication(func(u *directory.Update, a *directory.Application) *graphError {
			if err := f(holder{a.ID, a.AppID, a.Owners, a.CreatedDateTime, &a.KeyCredentials, &a.PasswordCredentials, applicationRules(u, a)}); err != nil {
				return err
			}
			return checkApplication(a)
		})
	}
	return q.changePrincipal(func(u *directory.Update, p *directory.ServicePrincipal) *graphError {
		return f(holder{p.ID, p.AppID, ownersOf(u.View, p), p.CreatedDateTime, &p.KeyCredentials, &p.PasswordCredentials, principalRules(u, p)})
	})
}

// mayRoll lets an application roll its own keys; others need a permission.
func (q *request) mayRoll(h holder) *graphError {
	if q.caller.App() && strings.EqualFold(q.caller.ClientID, h.appID) {
		return nil
	}
	return q.permit(writeApplications, h.owners)
}

func (q *request) addKey() (answer, *graphError) {
	in, err := parseAddKey(q.body)
	if err != nil {
		return answer{}, err
	}
	var added directory.KeyCredential
	err = q.changeHolder(func(h holder) *graphError {
		if err := q.mayRoll(h); err != nil {
			return err
		}
		if err := checkProof(in.Proof, h.id, *h.keys, q.Cloud.Now()); err != nil {
			return err
		}
		all, one, err := addKeyCredential(*h.keys, in.Key, q.now())
		if err != nil {
			return err
		}
		if err := h.rules.checkKey(one, h.created); err != nil {
			return err
		}
		*h.keys, added = all, one
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderKeyCredential(added, false))
}

func (q *request) removeKey() (answer, *graphError) {
	keyID, proof, err := parseRemoveKey(q.body)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.changeHolder(func(h holder) *graphError {
		if err := q.mayRoll(h); err != nil {
			return err
		}
		if err := checkProof(proof, h.id, *h.keys, q.Cloud.Now()); err != nil {
			return err
		}
		left, err := removeKeyCredential(*h.keys, keyID)
		*h.keys = left
		return err
	})
}

func (q *request) addPassword() (answer, *graphError) {
	added, secret, err := newPassword(q.body, q.now())
	if err != nil {
		return answer{}, err
	}
	err = q.changeHolder(func(h holder) *graphError {
		if err := h.rules.checkPassword(added, h.created); err != nil {
			return err
		}
		*h.passwords = append(slices.Clip(*h.passwords), added)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderPasswordCredential(added, secret))
}

func (q *request) removePassword() (answer, *graphError) {
	keyID, err := parseRemovePassword(q.body)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.changeHolder(func(h holder) *graphError {
		left, err := removePasswordCredential(*h.passwords, keyID)
		*h.passwords = left
		return err
	})
}
