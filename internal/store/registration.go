package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Registration is what reeve has made at Entra ID for one application; what is in it is
// registration's affair.
type Registration struct {
	Name     string // names it in the tenant
	ClientID string // empty until it is known
	Data     []byte // JSON
}

// SaveRegistration keeps what was made, in place of what was kept under the name. It is
// on the disk when it returns.
func (db *DB) SaveRegistration(ctx context.Context, tenant int, r Registration) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`INSERT INTO registrations (tenant_id, name, client_id, saved_at, data) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant_id, name) DO UPDATE SET client_id = excluded.client_id, saved_at = excluded.saved_at, data = excluded.data`,
			tenant, r.Name, r.ClientID, stamp(tx.Now), string(r.Data)); err != nil {
			return fmt.Errorf("keeping what was made for application %s: %w", r.Name, err)
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
