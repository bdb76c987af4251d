package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Registration is what reeve has made at Entra ID for one application; what is in it is
// registration's affair.
type Registration struct {
	Name     string // names it in the tenant
	ClientID string // empty until it is known
	Data     []byte // JSON
	// ObjectID is of the application whose journal takes what happened; empty until it is
	// known. It is not kept.
	ObjectID string
}

// ErrChanged says that somebody else has changed what was read.
var ErrChanged = errors.New("another run of reeve has changed what is recorded of this application since this one read it: run the command again when that one has ended")

// SaveRegistration keeps what was made in place of the data that was read under the name,
// nil for none, with what happened. It is on the disk when it returns. If something else is
// kept under the name by now, nothing is written, and the error matches [ErrChanged].
func (db *DB) SaveRegistration(ctx context.Context, tenant int, r Registration, before []byte, happened ...JournalEntry) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		write := func() (int64, error) {
			if before == nil {
				return tx.exec(`INSERT INTO registrations (tenant_id, name, client_id, saved_at, data) VALUES ($1, $2, $3, $4, $5)
					ON CONFLICT (tenant_id, name) DO NOTHING`, tenant, r.Name, r.ClientID, stamp(tx.Now), string(r.Data))
			}
			return tx.exec(`UPDATE registrations SET client_id = $1, saved_at = $2, data = $3 WHERE tenant_id = $4 AND name = $5 AND data = $6`,
				r.ClientID, stamp(tx.Now), string(r.Data), tenant, r.Name, string(before))
		}
		n, err := write()
		if err == nil && n == 0 {
			err = ErrChanged
		}
		if err != nil {
			return fmt.Errorf("keeping what was made for application %s: %w", r.Name, err)
		}
		for _, e := range happened {
			if r.ObjectID == "" {
				break
			}
			if err := tx.journal(tenant, r.ObjectID, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveRegistration forgets what was made, once it is gone.
func (db *DB) RemoveRegistration(ctx context.Context, tenant int, name string) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM registrations WHERE tenant_id = $1 AND name = $2`, tenant, name)
		return err
	})
}

// Registrations lists what was made, by name.
func (db *DB) Registrations(ctx context.Context, tenant int) ([]Registration, error) {
	return list(ctx, db, "reading what was made at Entra ID from", func(rows *sql.Rows, r *Registration) error {
		var data string
		err := rows.Scan(&r.Name, &r.ClientID, &data)
		r.Data = []byte(data)
		return err
	}, `SELECT name, client_id, data FROM registrations WHERE tenant_id = $1 ORDER BY name`, tenant)
}
