package rotate

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/pki"
)

// shelf is a certificate store in memory, for simulations: what is put there stays,
// whatever crashes.
type shelf struct {
	mu      sync.Mutex
	entries map[string]certstore.Entry
}

func openKeys(testing.TB, string) certstore.Store {
	return &shelf{entries: map[string]certstore.Entry{}}
}

func (s *shelf) Name() string { return "shelf" }

func (s *shelf) Put(_ context.Context, e certstore.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.entries[e.ID]; ok {
		if !pki.SameKey(old.Key.Public(), e.Key.Public()) {
			return fmt.Errorf("putting %s: another key is there", e.ID)
		}
		if e.Certificate == nil {
			return nil
		}
		if old.Certificate != nil && !old.Certificate.Equal(e.Certificate) {
			return fmt.Errorf("putting %s: %w", e.ID, certstore.ErrOtherKey)
		}
	}
	s.entries[e.ID] = e
	return nil
}

func (s *shelf) Get(_ context.Context, id string) (certstore.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[id]
	if !ok {
		return e, fmt.Errorf("getting %s: %w", id, fs.ErrNotExist)
	}
	return e, nil
}

func (s *shelf) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.entries)), nil
}

func (s *shelf) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, id)
	return nil
}
