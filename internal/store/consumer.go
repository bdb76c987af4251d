package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// ConsumerToken lets one program take the certificate of one application.
type ConsumerToken struct {
	ObjectID string // of the application
	Consumer string // the program's name
	Hash     string // SHA-256 of the token, hexadecimal; the token is not kept
	By       string // who made it
	At       time.Time
}

// AddConsumerToken admits a consumer. One whose name is taken is [ErrExists].
func (db *DB) AddConsumerToken(ctx context.Context, tenant int, t ConsumerToken) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		n, err := tx.exec(`INSERT INTO credential_consumer_tokens (tenant_id, object_id, consumer, hash, made_by, made_at)
			SELECT tenant_id, object_id, $1, $2, $3, $4 FROM applications WHERE tenant_id = $5 AND object_id = $6
			ON CONFLICT (tenant_id, object_id, consumer) DO NOTHING`,
			t.Consumer, t.Hash, t.By, stamp(t.At), tenant, t.ObjectID)
		if err == nil && n == 0 {
			err = ErrExists
		}
		if err != nil {
			return fmt.Errorf("admitting consumer %s: %w", t.Consumer, err)
		}
		return tx.journal(tenant, t.ObjectID, JournalEntry{At: t.At, Actor: t.By, Step: "admit consumer", Outcome: Done, Text: t.Consumer})
	})
}

// RemoveConsumer takes a consumer's token away, and forgets what it has said: nobody
// waits for it any more. The error matches [ErrNotFound] if there is none.
func (db *DB) RemoveConsumer(ctx context.Context, tenant int, objectID, consumer, by, why string) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		var n int64
		for _, table := range []string{"credential_consumer_tokens", "credential_consumers"} {
			rows, err := tx.exec(`DELETE FROM `+table+` WHERE tenant_id = $1 AND object_id = $2 AND consumer = $3`, tenant, objectID, consumer)
			if err != nil {
				return fmt.Errorf("removing consumer %s: %w", consumer, err)
			}
			n += rows
		}
		if n == 0 {
			return fmt.Errorf("consumer %s: %w", consumer, ErrNotFound)
		}
		// What waited for it may be due now.
		if err := tx.touch(tenant, objectID); err != nil {
			return err
		}
		text := consumer
		if why != "" {
			text += ": " + why
		}
		return tx.journal(tenant, objectID, JournalEntry{At: tx.Now, Actor: by, Step: "remove consumer", Outcome: Done, Text: text})
	})
}

// ConsumerTokens lists the tokens of a tenant, by application and name.
func (db *DB) ConsumerTokens(ctx context.Context, tenant int) ([]ConsumerToken, error) {
	return list(ctx, db, "reading the consumers of", func(rows *sql.Rows, t *ConsumerToken) error {
		return rows.Scan(&t.ObjectID, &t.Consumer, &t.Hash, &t.By, stamped{&t.At})
	}, `SELECT object_id, consumer, hash, made_by, made_at FROM credential_consumer_tokens
		WHERE tenant_id = $1 ORDER BY object_id, consumer`, tenant)
}

// ConsumedApplications gives the applications that have a consumer with a token, each
// with its active credential and its standbys alone. It is cheap enough to be asked
// every few seconds.
func (db *DB) ConsumedApplications(ctx context.Context, tenant int) ([]credential.Application, error) {
	type row struct {
		objectID, clientID, name, credential string
	}
	rows, err := list(ctx, db, "reading the consumers of", func(rows *sql.Rows, r *row) error {
		return rows.Scan(&r.objectID, &r.clientID, &r.name, &r.credential)
	}, `SELECT a.object_id, a.client_id, a.name, coalesce(c.data, '') FROM applications a
		LEFT JOIN credentials c ON c.tenant_id = a.tenant_id AND c.object_id = a.object_id AND c.state IN ('active', 'standby')
		WHERE a.tenant_id = $1 AND a.object_id IN (SELECT object_id FROM credential_consumer_tokens WHERE tenant_id = $1)
		ORDER BY a.object_id`, tenant)
	if err != nil {
		return nil, err
	}
	var all []credential.Application
	for _, r := range rows {
		if len(all) == 0 || all[len(all)-1].ObjectID != r.objectID {
			all = append(all, credential.Application{ObjectID: r.objectID, ClientID: r.clientID, Name: r.name})
		}
		if r.credential == "" {
			continue
		}
		var c credential.Credential
		if err := json.Unmarshal([]byte(r.credential), &c); err != nil {
			return nil, fmt.Errorf("reading a credential of application %s: %w", r.objectID, err)
		}
		a := &all[len(all)-1]
		a.Credentials = append(a.Credentials, c)
	}
	return all, nil
}
