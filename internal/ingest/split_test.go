package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func split(r io.Reader, limit int) (elements []string, err error) {
	s := NewSplitter(r, limit)
	for {
		raw, err := s.Next()
		var long *TooLongError
		if errors.As(err, &long) {
			elements = append(elements, fmt.Sprintf("long %d", long.Length))
			continue
		}
		if err == io.EOF {
			return elements, nil
		}
		if err != nil {
			return elements, err
		}
		elements = append(elements, string(raw))
	}
}

func TestSplitter(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 200<<10) + `\""}`
	for _, test := range []struct {
		name, in string
		want     []string
		err      string // part of the error; empty: none
	}{
		{"empty array", "[]", nil, ""},
		{"white space", " \r\n[ \t] \n", nil, ""},
		{"byte order mark", "\xef\xbb\xbf[1]", []string{"1"}, ""},
		{"objects", `[{"a":1},{"b":[2,{}]} , {}]`, []string{`{"a":1}`, `{"b":[2,{}]}`, `{}`}, ""},
		{"brackets in strings", `[{"a":"]}\"\\"},{"b":"{["}]`, []string{`{"a":"]}\"\\"}`, `{"b":"{["}`}, ""},
		{"other values", `[1, "a,b" ,null,true,[1,2] ]`, []string{"1", `"a,b"`, "null", "true", "[1,2]"}, ""},
		{"a record that is no JSON costs itself alone", `[{"a":tru},{x},{"b":2}]`, []string{`{"a":tru}`, `{x}`, `{"b":2}`}, ""},
		{"long record", "[" + long + `,{"b":1}]`, []string{long, `{"b":1}`}, ""},
		{"nothing", "", nil, "byte 0 it ends"},
		{"not an array", `{"error":{}}`, nil, `stands '{' instead of [`},
		{"a web page", "<html>", nil, `stands '<'`},
		{"cut within a record", `[{"a":1},{"b":`, []string{`{"a":1}`}, "it ends within a record"},
		{"cut after a record", `[{"a":1}`, []string{`{"a":1}`}, "it ends"},
		{"cut after a comma", `[{"a":1},`, []string{`{"a":1}`}, "it ends"},
		{"cut within an escape", `[{"a":"\`, nil, "it ends within a record"},
		{"comma at the end", `[1,]`, []string{"1"}, "] after a comma"},
		{"no comma", `[{} {}]`, []string{"{}"}, "instead of a comma"},
		{"something after it", `[1] x`, []string{"1"}, `'x' after the array`},
		{"two arrays", `[1][2]`, []string{"1"}, `'[' after the array`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole":       strings.NewReader(test.in),
				"by the byte": iotest.OneByteReader(strings.NewReader(test.in)),
				"with EOF":    iotest.DataErrReader(strings.NewReader(test.in)),
			} {
				got, err := split(r, 1<<20)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: elements (-want +got):\n%s", name, diff)
				}
				switch {
				case test.err == "" && err != nil:
					t.Errorf("%s: %v", name, err)
				case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
					t.Errorf("%s: error %v, want one with %q", name, err, test.err)
				}
			}
		})
	}
}

func TestSplitterPassesOverTooLongRecords(t *testing.T) {
	long := `{"a":"` + strings.Repeat(`\"}`, 100_000) + `"}`
	in := `[{"b":1},` + long + `,{"c":2}]`
	want := []string{`{"b":1}`, fmt.Sprintf("long %d", len(long)), `{"c":2}`}
	for _, r := range []io.Reader{strings.NewReader(in), iotest.HalfReader(strings.NewReader(in)), iotest.OneByteReader(strings.NewReader(in))} {
		got, err := split(r, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// endless gives n bytes of one string without ever holding them.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	k := int(min(int64(len(p)), e.n))
	for i := range p[:k] {
		p[i] = 'x'
	}
	e.n -= int64(k)
	return k, nil
}

func TestSplitterHoldsLittleOfALongRecord(t *testing.T) {
	const limit = 1 << 20
	s := NewSplitter(io.MultiReader(strings.NewReader(`["`), &endless{1 << 30}, strings.NewReader(`",{}]`)), limit)
	_, err := s.Next()
	var long *TooLongError
	if !errors.As(err, &long) || long.Length != 1<<30+2 {
		t.Fatalf("error %v, want one of a record of %d bytes", err, 1<<30+2)
	}
	if len(s.buf) > 4*limit {
		t.Errorf("the buffer has grown to %d bytes", len(s.buf))
	}
	if raw, err := s.Next(); err != nil || string(raw) != "{}" {
		t.Errorf("after it: %q, %v", raw, err)
	}
}

func TestSplitterPassesOnErrors(t *testing.T) {
	broken := errors.New("connection reset")
	s := NewSplitter(io.MultiReader(strings.NewReader(`[{"a":1},{"b"`), iotest.ErrReader(broken)), 1000)
	if raw, err := s.Next(); err != nil || string(raw) != `{"a":1}` {
		t.Fatalf("%q, %v", raw, err)
	}
	if _, err := s.Next(); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{"[]", `[{"a":"\"]"},1,"x",[[]]]`, `[`, `{"a":1}`, "[1,2", "\xef\xbb\xbf[]", `["\u0000\\"]`, `[{]`, `[}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := split(bytes.NewReader(in), 1<<16)
		slow, slowErr := split(iotest.OneByteReader(bytes.NewReader(in)), 1<<16)
		if diff := cmp.Diff(got, slow); diff != "" || (err == nil) != (slowErr == nil) {
			t.Errorf("by the byte it differs: %v, %v\n%s", err, slowErr, diff)
		}
		var want []json.RawMessage
		if json.Unmarshal(in, &want) == nil && want != nil {
			if err != nil || len(got) != len(want) {
				t.Fatalf("%d elements, %v; want %d", len(got), err, len(want))
			}
			for i := range want {
				if got[i] != string(want[i]) && len(want[i]) <= 1<<16 {
					t.Errorf("element %d is %q, want %q", i, got[i], want[i])
				}
			}
		}
	})
}

func BenchmarkSplitter(b *testing.B) {
	record := `{"Id":"0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2","UserAgent":"` + strings.Repeat("Mozilla/5.0 ", 20) + `","Parameters":[` + strings.Repeat(`{"Name":"Identity","Value":"someone"},`, 45) + `{}]}`
	blob := []byte("[" + strings.Repeat(record+",", 99) + record + "]")
	b.SetBytes(int64(len(blob)))
	s := NewSplitter(nil, 1<<20)
	for b.Loop() {
		s.Reset(bytes.NewReader(blob))
		for {
			if _, err := s.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestLongRecordsAreToldApart(t *testing.T) {
	same := strings.Repeat("x", 200<<10)
	s := NewSplitter(strings.NewReader(`["`+same+`1","`+same+`2","`+same+`1"]`), 1000)
	var digests []string
	for {
		_, err := s.Next()
		var long *TooLongError
		if !errors.As(err, &long) {
			break
		}
		digests = append(digests, string(long.Digest))
	}
	if len(digests) != 3 || digests[0] == digests[1] || digests[0] != digests[2] {
		t.Errorf("digests %x", digests)
	}
}
