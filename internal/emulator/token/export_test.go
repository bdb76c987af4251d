package token

// MostSeen is how many tokens a Reader remembers.
const MostSeen = mostSeen

// Remembered returns how many tokens are remembered.
func (s *Reader) Remembered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}
