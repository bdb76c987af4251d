package keyvault

import (
	"maps"
	"net/http"
	"time"
)

// shelf holds the objects of one kind, by their folded names. Soft delete is
// always on: what is deleted stays, under its name, until it is recovered,
// purged, or its retention ends.
type shelf[O any] struct {
	Live    map[string]*O        `json:"live"`
	Deleted map[string]*grave[O] `json:"deleted"`

	// Recovering says until when a recovery goes on, by name. The object is
	// live, but cannot be seen yet.
	Recovering map[string]time.Time `json:"recovering"`

	// Purging says until when the name of what was purged is not free.
	Purging map[string]time.Time `json:"purging"`
}

// grave is a deleted object.
type grave[O any] struct {
	Object  *O        `json:"object"`
	Deleted time.Time `json:"deleted"`
	Gone    time.Time `json:"gone"`  // when its retention ends
	Ready   time.Time `json:"ready"` // when the deletion is done; zero when it was at once
}

func newShelf[O any]() shelf[O] {
	return shelf[O]{
		Live: map[string]*O{}, Deleted: map[string]*grave[O]{},
		Recovering: map[string]time.Time{}, Purging: map[string]time.Time{},
	}
}

// look returns a live object, or nil.
func (s *shelf[O]) look(name string, now time.Time) *O {
	if now.Before(s.Recovering[fold(name)]) {
		return nil
	}
	return s.Live[fold(name)]
}

// free refuses a name that something deleted, purged or recovering has.
func (s *shelf[O]) free(k kind, name string, now time.Time) error {
	g := s.Deleted[fold(name)]
	if g != nil && now.Before(g.Ready) || now.Before(s.Purging[fold(name)]) {
		return conflict("ObjectIsBeingDeleted", "%s %s is currently being deleted.", k, name)
	}
	if g != nil {
		return conflict("ObjectIsDeletedButRecoverable", "%s %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, it can only be recovered or purged.", k, name)
	}
	if now.Before(s.Recovering[fold(name)]) {
		return conflict("ObjectIsBeingRecovered", "%s %s is currently being recovered.", k, name)
	}
	return nil
}

// remove deletes an object, which takes the time settle. One that is deleted
// already cannot be found; the code is that of a read [K].
func (s *shelf[O]) remove(k kind, name string, now time.Time, retention, settle time.Duration) (*grave[O], error) {
	if g := s.Deleted[fold(name)]; g != nil && !now.Before(g.Ready) {
		return nil, k.notFound(name)
	}
	if err := s.free(k, name, now); err != nil {
		return nil, err
	}
	o := s.Live[fold(name)]
	if o == nil {
		return nil, k.notFound(name)
	}
	g := &grave[O]{Object: o, Deleted: now, Gone: now.Add(retention)}
	if settle > 0 {
		g.Ready = now.Add(settle)
	}
	delete(s.Live, fold(name))
	s.Deleted[fold(name)] = g
	return g, nil
}

// bury returns a deleted object; whoever asks before the deletion is done finds
// nothing yet.
func (s *shelf[O]) bury(k kind, name string, now time.Time) (*grave[O], error) {
	g := s.Deleted[fold(name)]
	if g == nil || now.Before(g.Ready) {
		return nil, refuse(http.StatusNotFound, string(k)+"NotFound", "", "Deleted %s not found: %s", k, name)
	}
	return g, nil
}

// ready returns a deleted object that can be recovered or purged.
func (s *shelf[O]) ready(k kind, name string, now time.Time) (*grave[O], error) {
	if g := s.Deleted[fold(name)]; g != nil && now.Before(g.Ready) {
		return nil, conflict("ObjectIsBeingDeleted", "%s %s is currently being deleted and cannot be changed.", k, name)
	}
	return s.bury(k, name, now)
}

// restore brings a deleted object back, which takes the time settle.
func (s *shelf[O]) restore(k kind, name string, now time.Time, settle time.Duration) (*O, error) {
	g, err := s.ready(k, name, now)
	if err != nil {
		return nil, err
	}
	delete(s.Deleted, fold(name))
	s.Live[fold(name)] = g.Object
	if settle > 0 {
		s.Recovering[fold(name)] = now.Add(settle)
	}
	return g.Object, nil
}

// expire forgets what was deleted so long ago that its retention has ended.
func (s *shelf[O]) expire(now time.Time) {
	for name, g := range s.Deleted {
		if !now.Before(g.Gone) {
			delete(s.Deleted, name)
		}
	}
	for _, waiting := range []map[string]time.Time{s.Recovering, s.Purging} {
		maps.DeleteFunc(waiting, func(_ string, until time.Time) bool { return !now.Before(until) })
	}
}

// Retention of soft-deleted objects, in days.
const (
	leastRetention = 7
	usualRetention = 90
	mostRetention  = 90
)

// recoveryLevel is what attributes say about the vault's soft delete.
func (s *state) recoveryLevel() string {
	level := "Recoverable"
	if s.Retention < usualRetention {
		level = "CustomizedRecoverable"
	}
	if !s.Protected {
		level += "+Purgeable"
	}
	return level
}

func (s *state) retention() time.Duration { return time.Duration(s.Retention) * 24 * time.Hour }

// purge forgets a deleted object, unless the vault is protected from that. Its
// name is free only after the time settle, as users report.
func purge[O any](s *state, on *shelf[O], k kind, name string, now time.Time, settle time.Duration) error {
	if _, err := on.ready(k, name, now); err != nil {
		return err
	}
	if s.Protected {
		return forbidden("", "Operation purge is not allowed because purge protection is enabled for this vault.")
	}
	delete(on.Deleted, fold(name))
	if settle > 0 {
		on.Purging[fold(name)] = now.Add(settle)
	}
	return nil
}

// kept is a deleted object of any kind, as it was at one moment.
type kept[T any] struct {
	view T
	deletion
}

// deletion says when something was deleted, and when it will be gone.
type deletion struct{ deleted, gone time.Time }

func (g *grave[O]) deletion() deletion { return deletion{g.Deleted, g.Gone} }

// deleteCertificate deletes a certificate with its key and its secret.
func (v *Vault) deleteCertificate(name string, settle time.Duration) (kept[certificateView], error) {
	now, unlock := v.lock()
	defer unlock()
	g, err := v.state.Certificates.remove(certificateKind, name, now, v.state.retention(), settle)
	if err != nil {
		return kept[certificateView]{}, err
	}
	return kept[certificateView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()}, nil
}

func (v *Vault) deletedCertificate(name string) (kept[certificateView], error) {
	now, unlock := v.lock()
	defer unlock()
	g, err := v.state.Certificates.bury(certificateKind, name, now)
	if err != nil {
		return kept[certificateView]{}, err
	}
	return kept[certificateView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()}, nil
}

func (v *Vault) deletedCertificates(pendingToo bool) []kept[certificateView] {
	now, unlock := v.lock()
	defer unlock()
	var all []kept[certificateView]
	for _, g := range sorted(v.state.Certificates.Deleted) {
		if !now.Before(g.Ready) && (pendingToo || len(g.Object.Versions) > 0) {
			all = append(all, kept[certificateView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()})
		}
	}
	return all
}

func (v *Vault) recoverCertificate(name string, settle time.Duration) (certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.Certificates.restore(certificateKind, name, now, settle)
	if err != nil {
		return certificateView{}, err
	}
	return c.view(pick(c.Versions, "")), nil
}

// deleteSecret deletes a plain secret.
func (v *Vault) deleteSecret(name string, settle time.Duration) (kept[secretView], error) {
	now, unlock := v.lock()
	defer unlock()
	if v.state.Certificates.look(name, now) != nil {
		return kept[secretView]{}, secretKind.managed(name)
	}
	g, err := v.state.Secrets.remove(secretKind, name, now, v.state.retention(), settle)
	if err != nil {
		return kept[secretView]{}, err
	}
	return kept[secretView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()}, nil
}

func (v *Vault) deletedSecret(name string) (kept[secretView], error) {
	now, unlock := v.lock()
	defer unlock()
	if g, err := v.state.Certificates.bury(certificateKind, name, now); err == nil && len(g.Object.Versions) > 0 {
		s := g.Object.asSecret()
		return kept[secretView]{s.view(pick(s.Versions, "")), g.deletion()}, nil
	}
	g, err := v.state.Secrets.bury(secretKind, name, now)
	if err != nil {
		return kept[secretView]{}, err
	}
	return kept[secretView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()}, nil
}

// deletedSecrets returns the deleted secrets, those of certificates included.
func (v *Vault) deletedSecrets() []kept[secretView] {
	now, unlock := v.lock()
	defer unlock()
	var all []kept[secretView]
	for _, g := range sorted(v.state.Secrets.Deleted) {
		if !now.Before(g.Ready) {
			all = append(all, kept[secretView]{g.Object.view(pick(g.Object.Versions, "")), g.deletion()})
		}
	}
	for _, g := range sorted(v.state.Certificates.Deleted) {
		if s := g.Object.asSecret(); !now.Before(g.Ready) && len(s.Versions) > 0 {
			all = append(all, kept[secretView]{s.view(pick(s.Versions, "")), g.deletion()})
		}
	}
	return all
}

func (v *Vault) recoverSecret(name string, settle time.Duration) (secretView, error) {
	now, unlock := v.lock()
	defer unlock()
	if v.state.Certificates.Deleted[fold(name)] != nil {
		return secretView{}, secretKind.managed(name)
	}
	s, err := v.state.Secrets.restore(secretKind, name, now, settle)
	if err != nil {
		return secretView{}, err
	}
	return s.view(pick(s.Versions, "")), nil
}

// deleteKey deletes a plain key.
func (v *Vault) deleteKey(name string, settle time.Duration) (kept[keyView], error) {
	now, unlock := v.lock()
	defer unlock()
	if v.state.Certificates.look(name, now) != nil {
		return kept[keyView]{}, keyKind.managed(name)
	}
	g, err := v.state.Keys.remove(keyKind, name, now, v.state.retention(), settle)
	if err != nil {
		return kept[keyView]{}, err
	}
	return kept[keyView]{keyView{g.Object.Name, *pick(g.Object.Versions, "")}, g.deletion()}, nil
}

func (v *Vault) deletedKey(name string) (kept[keyView], error) {
	now, unlock := v.lock()
	defer unlock()
	if g, err := v.state.Certificates.bury(certificateKind, name, now); err == nil && len(g.Object.Versions) > 0 {
		k := g.Object.asKey()
		return kept[keyView]{keyView{k.Name, *pick(k.Versions, "")}, g.deletion()}, nil
	}
	g, err := v.state.Keys.bury(keyKind, name, now)
	if err != nil {
		return kept[keyView]{}, err
	}
	return kept[keyView]{keyView{g.Object.Name, *pick(g.Object.Versions, "")}, g.deletion()}, nil
}

// deletedKeys returns the deleted keys, those of certificates included.
func (v *Vault) deletedKeys() []kept[keyView] {
	now, unlock := v.lock()
	defer unlock()
	var all []kept[keyView]
	for _, g := range sorted(v.state.Keys.Deleted) {
		if !now.Before(g.Ready) {
			all = append(all, kept[keyView]{keyView{g.Object.Name, *pick(g.Object.Versions, "")}, g.deletion()})
		}
	}
	for _, g := range sorted(v.state.Certificates.Deleted) {
		if k := g.Object.asKey(); !now.Before(g.Ready) && len(k.Versions) > 0 {
			all = append(all, kept[keyView]{keyView{k.Name, *pick(k.Versions, "")}, g.deletion()})
		}
	}
	return all
}

func (v *Vault) recoverKey(name string, settle time.Duration) (keyView, error) {
	now, unlock := v.lock()
	defer unlock()
	if v.state.Certificates.Deleted[fold(name)] != nil {
		return keyView{}, keyKind.managed(name)
	}
	k, err := v.state.Keys.restore(keyKind, name, now, settle)
	if err != nil {
		return keyView{}, err
	}
	return keyView{k.Name, *pick(k.Versions, "")}, nil
}

// purge forgets a deleted object of a kind; see the function purge.
func (v *Vault) purge(k kind, name string, settle time.Duration) error {
	now, unlock := v.lock()
	defer unlock()
	switch s := &v.state; {
	case k == certificateKind:
		return purge(s, &s.Certificates, k, name, now, settle)
	case s.Certificates.Deleted[fold(name)] != nil:
		return k.managed(name)
	case k == secretKind:
		return purge(s, &s.Secrets, k, name, now, settle)
	default:
		return purge(s, &s.Keys, k, name, now, settle)
	}
}
