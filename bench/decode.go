package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

// A rowMaker makes rows of the records of blobs, with reeve's own splitter and
// decoder. The database that reeve's batches belong to stays empty.
type rowMaker struct {
	db      *store.DB
	split   *ingest.Splitter
	decoder ingest.Decoder
}

func newRowMaker(ctx context.Context, dir string) (*rowMaker, error) {
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "rows.db"), store.Options{})
	if err != nil {
		return nil, err
	}
	return &rowMaker{db: db, split: ingest.NewSplitter(nil, ingest.MaxRecord), decoder: feed.Audit(feed.AuditOptions{Tenant: 1}).NewDecoder()}, nil
}

func (m *rowMaker) batch() *store.Batch { return m.db.NewBatch(1, "audit", "", "", 0) }

// decode adds the rows of every record in a blob to the batch that next gives
// for it.
func (m *rowMaker) decode(body []byte, next func(record []byte) (*store.Batch, error)) error {
	m.split.Reset(bytes.NewReader(body))
	for {
		record, err := m.split.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := next(record)
		if err != nil {
			return err
		}
		b.Records++
		if bad := m.decoder.Decode(record, b); bad != nil {
			return fmt.Errorf("a record cannot be decoded: %s", bad.Detail)
		}
	}
}

// pieceBytes is how much reeve keeps in one batch.
const pieceBytes = 256 << 10

// decode splits and decodes every blob from memory, and drops the rows.
func decode(ctx context.Context, j job) (outcome, error) {
	m, err := newRowMaker(ctx, j.Dir)
	if err != nil {
		return outcome{}, err
	}
	defer m.db.Close()
	var watch stopwatch
	var records int
	var size int64
	err = corpus(j.Corpus).each(func(_ blobHead, body []byte) error {
		watch.start()
		b := m.batch()
		size += int64(len(body))
		err := m.decode(body, func([]byte) (*store.Batch, error) {
			records++
			if b.Size() < pieceBytes {
				return b, nil
			}
			// A sealed batch leaves its buffer to the next one, as in an import.
			// Compressing does not count.
			watch.stop()
			b.Seal()
			watch.start()
			b = m.batch()
			return b, nil
		})
		watch.stop()
		b.Seal()
		return err
	})
	return watch.outcome(records, size), err
}

// decodeByReflection decodes every blob from memory with encoding/json, into the
// few members that every record has.
func decodeByReflection(_ context.Context, j job) (outcome, error) {
	var watch stopwatch
	var records int
	var size int64
	err := corpus(j.Corpus).each(func(_ blobHead, body []byte) error {
		watch.start()
		defer watch.stop()
		var list []struct {
			ID           string `json:"Id"`
			CreationTime string
			RecordType   int
			Operation    string
			Workload     string
			UserID       string `json:"UserId"`
			UserType     int
			UserKey      string
			ResultStatus string
			ClientIP     string
			ObjectID     string `json:"ObjectId"`
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		records += len(list)
		size += int64(len(body))
		return nil
	})
	return watch.outcome(records, size), err
}
