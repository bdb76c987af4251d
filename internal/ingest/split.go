package ingest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// A Splitter reads a JSON array as a stream and gives its elements one by one,
// as they stand in the text. It looks at no more than strings and brackets, so
// that one element which is not JSON costs that element and not the rest. It
// holds one element at a time, and of an element longer than its limit only the
// beginning.
type Splitter struct {
	r   io.Reader
	max int
	buf []byte
	pos int // next byte to look at
	end int // end of what was read
	err error

	state  splitState
	offset int64 // in the text, of buf[0]
}

type splitState int

const (
	beforeArray splitState = iota
	beforeFirst            // after [
	beforeNext             // after an element
	afterArray
)

// A MalformedError says that a text is not a JSON array, or is cut off.
type MalformedError struct {
	Offset int64  // where, in bytes from the beginning
	What   string // what was found there
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("the content is not a whole JSON array: at byte %d %s", e.Offset, e.What)
}

// A TooLongError says that an element is longer than the limit. The elements
// after it can be read.
type TooLongError struct {
	Length, Limit int64
	Digest        []byte // the first 16 bytes of the SHA-256 of the whole element
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("a record of %d bytes is longer than the limit of %d", e.Length, e.Limit)
}

// NewSplitter reads from r. No element longer than limit bytes is held.
func NewSplitter(r io.Reader, limit int) *Splitter {
	s := &Splitter{max: limit, buf: make([]byte, 64<<10)}
	s.Reset(r)
	return s
}

// Reset makes the splitter read from r, with the buffer that it has.
func (s *Splitter) Reset(r io.Reader) {
	if len(s.buf) > 1<<20 {
		s.buf = make([]byte, 64<<10) // one long record must not be paid for ever
	}
	*s = Splitter{r: r, max: s.max, buf: s.buf}
}

// Offset is the number of bytes read so far.
func (s *Splitter) Offset() int64 { return s.offset + int64(s.end) }

// Next gives the next element; it is valid until the next call. After the last
// one the error is io.EOF. With a *TooLongError it gives the element's
// beginning and can go on. Any other error is the end: a *MalformedError, or
// what the reader said.
func (s *Splitter) Next() ([]byte, error) {
	c, err := s.token()
	if err != nil {
		return nil, err
	}
	if s.state == beforeArray {
		if c != '[' {
			return nil, s.malformed("stands %q instead of [", c)
		}
		s.pos++
		s.state = beforeFirst
		if c, err = s.token(); err != nil {
			return nil, err
		}
	}
	switch {
	case c == ']':
		s.pos++
		s.state = afterArray
		return nil, s.finish()
	case s.state == beforeNext:
		if c != ',' {
			return nil, s.malformed("stands %q instead of a comma or ]", c)
		}
		s.pos++
		if c, err = s.token(); err != nil {
			return nil, err
		}
		if c == ']' {
			return nil, s.malformed("stands ] after a comma")
		}
	}
	s.state = beforeNext
	return s.element(c)
}

// token skips white space and looks at the next byte. The end of the text is
// an error here.
func (s *Splitter) token() (byte, error) {
	for {
		for ; s.pos < s.end; s.pos++ {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
			case 0xEF: // a byte order mark, at the very beginning
				if s.offset == 0 && s.pos == 0 && s.have(3) && s.buf[1] == 0xBB && s.buf[2] == 0xBF {
					s.pos = 2
					continue
				}
				return c, nil
			default:
				return c, nil
			}
		}
		if err := s.fill(s.pos); err != nil {
			if err == io.EOF {
				return 0, s.malformed("it ends")
			}
			return 0, err
		}
	}
}

// have reads until n bytes stand after pos, if there are so many.
func (s *Splitter) have(n int) bool {
	for s.end-s.pos < n {
		if s.fill(s.pos) != nil {
			return false
		}
	}
	return true
}

// finish makes sure that nothing follows the array.
func (s *Splitter) finish() error {
	c, err := s.token()
	var m *MalformedError
	switch {
	case err == nil:
		return s.malformed("stands %q after the array", c)
	case errors.As(err, &m):
		return io.EOF
	}
	return err
}

// element reads the element that begins at pos with c.
func (s *Splitter) element(c byte) ([]byte, error) {
	var (
		start   = s.pos
		skipped int64 // bytes of the element that are no longer held
		head    []byte
		sum     = hash.Hash(nil) // of what was skipped
		depth   int
		text    bool // within a string
		bare    = c != '{' && c != '[' && c != '"'
	)
	for {
		for s.pos < s.end {
			if text {
				rest := s.buf[s.pos:s.end]
				quote := bytes.IndexByte(rest, '"')
				if quote >= 0 {
					rest = rest[:quote]
				}
				if esc := bytes.IndexByte(rest, '\\'); esc >= 0 {
					if s.pos+esc+1 >= s.end { // what is escaped is not read yet
						s.pos += esc
						break
					}
					s.pos += esc + 2
					continue
				}
				if quote < 0 {
					s.pos = s.end
					break
				}
				s.pos += quote + 1
				text = false
				if depth == 0 {
					return s.whole(start, skipped, head, sum)
				}
				continue
			}
			switch s.buf[s.pos] {
			case '"':
				if bare {
					return nil, s.malformed("stands a string where a comma is due")
				}
				text = true
			case '{', '[':
				depth++
			case '}', ']':
				if depth == 0 {
					return s.whole(start, skipped, head, sum)
				}
				if depth--; depth == 0 {
					s.pos++
					return s.whole(start, skipped, head, sum)
				}
			case ',':
				if depth == 0 {
					return s.whole(start, skipped, head, sum)
				}
			}
			s.pos++
		}
		if held := s.pos - start; held > s.max {
			if head == nil {
				head = bytes.Clone(s.buf[start:min(start+s.max, start+headLength)])
				sum = sha256.New()
			}
			sum.Write(s.buf[start:s.pos])
			skipped += int64(held)
			start = s.pos
		}
		before := start
		if err := s.fill(start); err != nil {
			if err == io.EOF {
				return nil, s.malformed("it ends within a record")
			}
			return nil, err
		}
		start -= before
	}
}

// headLength is how much is kept of an element that is too long.
const headLength = 64 << 10

func (s *Splitter) whole(start int, skipped int64, head []byte, sum hash.Hash) ([]byte, error) {
	raw := s.buf[start:s.pos]
	length := skipped + int64(len(raw))
	if length <= int64(s.max) {
		return bytes.TrimRight(raw, " \t\r\n"), nil
	}
	if sum == nil {
		sum = sha256.New()
		head = raw[:min(len(raw), headLength)]
	}
	sum.Write(raw)
	return head, &TooLongError{Length: length, Limit: int64(s.max), Digest: sum.Sum(nil)[:16]}
}

// fill reads more, after moving what stands from keep on to the beginning of
// the buffer.
func (s *Splitter) fill(keep int) error {
	if s.err != nil {
		return s.err
	}
	if keep > 0 {
		copy(s.buf, s.buf[keep:s.end])
		s.offset += int64(keep)
		s.pos -= keep
		s.end -= keep
	}
	if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

func (s *Splitter) malformed(format string, args ...any) error {
	return &MalformedError{Offset: s.offset + int64(s.pos), What: fmt.Sprintf(format, args...)}
}
