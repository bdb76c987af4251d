package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

// recordBytes is the length of a record: what the ones of real tenants have on
// average, and what the other importers were measured with.
const recordBytes = 2200

// A corpus is a folder with the records of a benchmark: the blobs, byte for byte
// as they are served, and a line for the Id of each record. It lies in a file so
// that no process which is measured has to hold it.
type corpus string

func (c corpus) blobs() string { return filepath.Join(string(c), "blobs") }
func (c corpus) ids() string   { return filepath.Join(string(c), "ids") }

// blobHead stands before the text of a blob, on a line of its own.
type blobHead struct {
	ContentType string
	Created     time.Time
	Length      int
}

// build makes exactly n records in blobs of exactly size. They are those of the
// emulated tenant's generator, whose own blobs end with the day; here they are
// joined until each blob is full.
func (c corpus) build(n, size int) (err error) {
	count := n / size
	if count == 0 || n%size != 0 {
		return fmt.Errorf("%d records do not fill blobs of %d", n, size)
	}
	types := tenant.ContentTypes()
	log := tenant.NewAuditLog(tenant.AuditOptions{
		TenantID: "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", Domain: "contoso.onmicrosoft.com", SharePointHost: "contoso.sharepoint.com",
		Seed: 1, Users: 2000, Days: 6, Total: n + len(types)*size, BlobRecords: size, RecordBytes: recordBytes, Calm: true,
	})
	if err := os.MkdirAll(string(c), 0o700); err != nil {
		return err
	}
	blobs, err := os.Create(c.blobs())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	ids, err := os.Create(c.ids())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()

	w := corpusWriter{log: log, size: size, split: ingest.NewSplitter(nil, ingest.MaxRecord),
		blobs: bufio.NewWriterSize(blobs, 1<<20), ids: bufio.NewWriterSize(ids, 1<<20)}
	for t, share := range shares(log, count, size) {
		if err := w.write(types[t], share); err != nil {
			return err
		}
	}
	return errors.Join(w.blobs.Flush(), w.ids.Flush())
}

// shares tells how many blobs each content type fills, count in all.
func shares(log *tenant.AuditLog, count, size int) []int {
	types := tenant.ContentTypes()
	records := map[string]int{}
	for r := range log.Records() {
		records[r.ContentType]++
	}
	full, sum := make([]int, len(types)), 0
	for i, t := range types {
		full[i] = records[t] / size
		sum += full[i]
	}
	for ; sum > count; sum-- {
		most := 0
		for i := range full {
			if full[i] > full[most] {
				most = i
			}
		}
		full[most]--
	}
	return full
}

type corpusWriter struct {
	log        *tenant.AuditLog
	size       int
	split      *ingest.Splitter
	blobs, ids *bufio.Writer
}

// write writes the first blobs of a content type.
func (w *corpusWriter) write(contentType string, count int) error {
	if count == 0 {
		return nil
	}
	now := w.log.Now()
	page := new(w.log.List(contentType, now.Add(-tenant.Retention), now))
	var source bytes.Buffer
	body, n := []byte{'['}, 0
	for page != nil {
		var sources []tenant.Blob
		sources, page = w.log.Page(*page)
		for _, s := range sources {
			source.Reset()
			if err := w.log.WriteBody(&source, s.ID); err != nil {
				return err
			}
			w.split.Reset(&source)
			for {
				record, err := w.split.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					return err
				}
				if err := w.id(record); err != nil {
					return err
				}
				if n > 0 {
					body = append(body, ',')
				}
				body = append(body, record...)
				if n++; n < w.size {
					continue
				}
				if err := w.blob(contentType, s.Created, append(body, ']')); err != nil {
					return err
				}
				if count--; count == 0 {
					return nil
				}
				body, n = body[:1], 0
			}
		}
	}
	return fmt.Errorf("the generator made %d blobs of %s too few", count, contentType)
}

// id notes the Id of a record.
func (w *corpusWriter) id(record []byte) error {
	_, rest, _ := bytes.Cut(record, []byte(`"Id":"`))
	id, _, _ := bytes.Cut(rest, []byte{'"'})
	if _, ok := store.ParseID(id); !ok {
		return fmt.Errorf("a generated record has no Id: %.100s", record)
	}
	w.ids.Write(id)
	return w.ids.WriteByte('\n')
}

func (w *corpusWriter) blob(contentType string, created time.Time, body []byte) error {
	head, err := json.Marshal(blobHead{contentType, created, len(body)})
	if err != nil {
		return err
	}
	w.blobs.Write(append(head, '\n'))
	_, err = w.blobs.Write(body)
	return err
}

// each gives all blobs one by one. A body is valid until f returns.
func (c corpus) each(f func(head blobHead, body []byte) error) error {
	file, err := os.Open(c.blobs())
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	var body []byte
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.blobs(), err)
		}
		var head blobHead
		if err := json.Unmarshal(line, &head); err != nil {
			return fmt.Errorf("reading %s: %w", c.blobs(), err)
		}
		if cap(body) < head.Length {
			body = make([]byte, head.Length)
		}
		body = body[:head.Length]
		if _, err := io.ReadFull(r, body); err != nil {
			return fmt.Errorf("reading %s: %w", c.blobs(), err)
		}
		if err := f(head, body); err != nil {
			return err
		}
	}
}
