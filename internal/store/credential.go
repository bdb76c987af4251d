package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// Outcomes of a [JournalEntry].
const (
	Intent = "intent" // it is about to be done
	Done   = "done"
	Failed = "failed"
	Seen   = "seen" // by looking; nobody here did it
	Wished = "wish" // a person asked for it
)

// JournalEntry is a line of the journal of an application's certificates. It holds
// public facts alone.
type JournalEntry struct {
	Seq        int64           `json:"seq"`
	At         time.Time       `json:"at"`
	Actor      string          `json:"actor"`
	Credential string          `json:"credential,omitempty"`
	Step       string          `json:"step"`
	Outcome    string          `json:"outcome"`
	Text       string          `json:"text"`
	Data       json.RawMessage `json:"data,omitempty"`
	Fence      int64           `json:"fence,omitempty"`
	Digest     string          `json:"digest"`
}

// ErrFenced says that somebody else has taken the lease since.
var ErrFenced = errors.New("another process has taken over this application")

// AddApplication begins to look after an application; what is known of its
// credentials comes along. One that is there already is [ErrExists].
func (db *DB) AddApplication(ctx context.Context, tenant int, a credential.Application, e JournalEntry) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		policy, data, err := encodeApplication(a)
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO applications (tenant_id, object_id, client_id, name, mode, policy, adopted_at, data, due_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, object_id) DO NOTHING`,
			tenant, a.ObjectID, a.ClientID, a.Name, string(a.Mode), policy, stamp(a.Adopted), data, stamp(tx.Now))
		if err != nil {
			return fmt.Errorf("adding application %s: %w", a.Name, err)
		}
		if n == 0 {
			return fmt.Errorf("application %s: %w", a.Name, ErrExists)
		}
		for _, c := range a.Credentials {
			if err := tx.saveCredential(tenant, a.ObjectID, c); err != nil {
				return err
			}
		}
		return tx.journal(tenant, a.ObjectID, e)
	})
}

// ErrExists says that a row of this key is there already.
var ErrExists = errors.New("it is there already")

// ChangeApplication changes what people decide: name, mode, policy. change gets these as
// they stand in the transaction that writes them, so that of two who change an application
// at once the second changes what the first has made of it. It returns the line for the
// journal, or nil if nothing is to change, and must not use db.
func (db *DB) ChangeApplication(ctx context.Context, tenant int, objectID string, change func(*credential.Application) (*JournalEntry, error)) error {
	return db.writeDurably(ctx, func(tx *Tx) error {
		a := credential.Application{ObjectID: objectID}
		var mode string
		var policy []byte
		err := tx.queryRow(`SELECT client_id, name, mode, policy FROM applications WHERE tenant_id = $1 AND object_id = $2`, tenant, objectID).
			Scan(&a.ClientID, &a.Name, &mode, &policy)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("changing application %s: %w", objectID, err)
		}
		if err := json.Unmarshal(policy, &a.Policy); err != nil {
			return fmt.Errorf("reading the policy of application %s: %w", objectID, err)
		}
		a.Mode = credential.Mode(mode)
		e, err := change(&a)
		if err != nil || e == nil {
			return err
		}
		changed, _, err := encodeApplication(a)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE applications SET name = $1, mode = $2, policy = $3, touched = touched + 1, due_at = $4
			WHERE tenant_id = $5 AND object_id = $6`, a.Name, string(a.Mode), changed, stamp(tx.Now), tenant, objectID); err != nil {
			return fmt.Errorf("changing application %s: %w", a.Name, err)
		}
		return tx.journal(tenant, objectID, *e)
	})
}

// AddWish records what a person asked for, and when by the database's clock, and makes
// the application due. A wish that stands already is renewed.
func (db *DB) AddWish(ctx context.Context, tenant int, objectID string, w credential.Wish) (at time.Time, err error) {
	err = db.writeDurably(ctx, func(tx *Tx) error {
		w.At = tx.Now.Truncate(time.Millisecond) // as it is kept
		if _, err := tx.exec(`INSERT INTO credential_wishes (tenant_id, object_id, kind, credential_id, asked_by, why, asked_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant_id, object_id, kind, credential_id) DO UPDATE
			SET asked_by = excluded.asked_by, why = excluded.why, asked_at = excluded.asked_at`,
			tenant, objectID, string(w.Kind), w.Credential, w.By, w.Why, stamp(w.At)); err != nil {
			return fmt.Errorf("recording a wish: %w", err)
		}
		if err := tx.touch(tenant, objectID); err != nil {
			return err
		}
		text := w.Why
		if text == "" {
			text = "no reason was given"
		}
		at = w.At
		return tx.journal(tenant, objectID, JournalEntry{At: w.At, Actor: w.By, Credential: w.Credential, Step: string(w.Kind), Outcome: Wished, Text: text})
	})
	return at, err
}

func (tx *Tx) touch(tenant int, objectID string) error {
	// Before all that is due by itself: somebody waits for it.
	n, err := tx.exec(`UPDATE applications SET touched = touched + 1, due_at = $1 WHERE tenant_id = $2 AND object_id = $3`,
		stamp(time.Unix(0, 0)), tenant, objectID)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("waking application %s: %w", objectID, err)
	}
	return nil
}

// Acknowledge records which certificate a consumer has.
func (db *DB) Acknowledge(ctx context.Context, tenant int, objectID string, c credential.Consumer) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO credential_consumers (tenant_id, object_id, consumer, generation, sha256, at)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant_id, object_id, consumer) DO UPDATE
			SET generation = excluded.generation, sha256 = excluded.sha256, at = excluded.at`,
			tenant, objectID, c.Name, c.Generation, c.SHA256, stamp(c.At))
		return err
	})
}

// Applications gives all applications, with their credentials, by name.
func (db *DB) Applications(ctx context.Context, tenant int) ([]credential.Application, error) {
	return db.applications(ctx, tenant, "", "", nil)
}

// EachLivingApplication hands all applications to f, by object ID, without the credentials
// that were destroyed and had expired by a time, which add up over years. It reads some at a
// time, so that they need not all be in memory at once; they are of several moments.
func (db *DB) EachLivingApplication(ctx context.Context, tenant int, expired time.Time, f func(credential.Application)) error {
	const atOnce = 256
	after := ""
	for {
		ids, err := list(ctx, db, "reading the applications of", func(rows *sql.Rows, id *string) error { return rows.Scan(id) },
			`SELECT object_id FROM applications WHERE tenant_id = $1 AND object_id > $2 ORDER BY object_id LIMIT $3`, tenant, after, atOnce)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		some, err := db.applications(ctx, tenant, ids[0], after, stamp(expired))
		if err != nil {
			return err
		}
		for _, a := range some {
			f(a)
		}
	}
}

// Application gives one. The error matches [ErrNotFound] if it is not looked after.
func (db *DB) Application(ctx context.Context, tenant int, objectID string) (credential.Application, error) {
	all, err := db.applications(ctx, tenant, objectID, objectID, nil)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return credential.Application{}, err
	}
	return all[0], nil
}

// applications reads the applications between two object IDs, these included, or all of them
// when these are empty. All its rows are of one moment. Credentials that were destroyed and had expired by a time are
// left out, unless that is nil.
func (db *DB) applications(ctx context.Context, tenant int, from, to string, expired any) (_ []credential.Application, err error) {
	defer func() { err = db.explain("reading", err) }()
	tx, err := db.read.BeginTx(ctx, db.engine.snapshot())
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	of, args := ` WHERE tenant_id = $1 `, []any{tenant}
	if from != "" {
		of, args = of+`AND object_id BETWEEN $2 AND $3 `, append(args, from, to)
	}
	living := ""
	if expired != nil {
		living = `AND (state <> 'destroyed' OR not_after IS NULL OR not_after > '` + expired.(string) + `')`
	}
	var all []credential.Application
	at := map[string]int{}
	each := func(query string, row func(*sql.Rows) error) error {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	for _, q := range []struct {
		query string
		row   func(*sql.Rows) error
	}{
		{`SELECT data, object_id, client_id, name, mode, policy, adopted_at FROM applications` + of + `ORDER BY name, object_id`,
			func(rows *sql.Rows) error {
				var a credential.Application
				var data, policy []byte
				var id, client, name, mode string
				var adopted time.Time
				if err := rows.Scan(&data, &id, &client, &name, &mode, &policy, stamped{&adopted}); err != nil {
					return err
				}
				if err := json.Unmarshal(data, &a); err != nil {
					return fmt.Errorf("reading application %s: %w", id, err)
				}
				if err := json.Unmarshal(policy, &a.Policy); err != nil {
					return fmt.Errorf("reading the policy of application %s: %w", id, err)
				}
				a.ObjectID, a.ClientID, a.Name, a.Mode, a.Adopted = id, client, name, credential.Mode(mode), adopted
				at[id] = len(all)
				all = append(all, a)
				return nil
			}},
		{`SELECT object_id, data FROM credentials` + of + living, func(rows *sql.Rows) error {
			var id string
			var data []byte
			var c credential.Credential
			if err := rows.Scan(&id, &data); err != nil {
				return err
			}
			if err := json.Unmarshal(data, &c); err != nil {
				return fmt.Errorf("reading a credential of application %s: %w", id, err)
			}
			if i, ok := at[id]; ok {
				all[i].Credentials = append(all[i].Credentials, c)
			}
			return nil
		}},
		{`SELECT object_id, kind, credential_id, asked_by, why, asked_at FROM credential_wishes` + of + `ORDER BY asked_at`, func(rows *sql.Rows) error {
			var id string
			var w credential.Wish
			if err := rows.Scan(&id, &w.Kind, &w.Credential, &w.By, &w.Why, stamped{&w.At}); err != nil {
				return err
			}
			if i, ok := at[id]; ok {
				all[i].Wishes = append(all[i].Wishes, w)
			}
			return nil
		}},
		{`SELECT object_id, consumer, generation, sha256, at FROM credential_consumers` + of + `ORDER BY consumer`, func(rows *sql.Rows) error {
			var id string
			var c credential.Consumer
			if err := rows.Scan(&id, &c.Name, &c.Generation, &c.SHA256, stamped{&c.At}); err != nil {
				return err
			}
			if i, ok := at[id]; ok {
				all[i].Consumers = append(all[i].Consumers, c)
			}
			return nil
		}},
		{`SELECT object_id, credential_id, hook, attempts, due_at, error FROM credential_deploys` + of + `AND due_at IS NOT NULL ORDER BY due_at`, func(rows *sql.Rows) error {
			var id string
			var d credential.Deploy
			if err := rows.Scan(&id, &d.Credential, &d.Hook, &d.Attempts, stamped{&d.DueAt}, &d.Error); err != nil {
				return err
			}
			if i, ok := at[id]; ok {
				all[i].Deploys = append(all[i].Deploys, d)
			}
			return nil
		}},
	} {
		if err := each(q.query, q.row); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// longestLease is the longest time for which a lease can be taken.
const longestLease = 10 * time.Minute

// DueApplications gives the object ids of those to be looked at by now, without those that
// somebody has a lease on: first the urgent ones, which get half of the places at most so
// that the others go on, then the longest due. What is due later than the horizon was written
// by a clock that has been set back since: it is due, too.
func (db *DB) DueApplications(ctx context.Context, tenant int, now, horizon time.Time, limit int) ([]string, error) {
	due := func(where string, limit int) ([]string, error) {
		return list(ctx, db, "reading the applications of", func(rows *sql.Rows, id *string) error { return rows.Scan(id) },
			`SELECT object_id FROM applications WHERE tenant_id = $1 AND (due_at <= $2 OR due_at > $3)
			AND (lease_until IS NULL OR lease_until <= $2 OR lease_until > $4) `+where+` ORDER BY due_at LIMIT $5`,
			tenant, stamp(now), stamp(horizon), stamp(now.Add(longestLease)), limit)
	}
	urgent, err := due("AND urgent", (limit+1)/2)
	if err != nil {
		return nil, err
	}
	rest, err := due("AND NOT urgent", limit-len(urgent))
	return append(urgent, rest...), err
}

// NextApplication gives when the next application is due, or is free of its lease; zero
// if none is.
func (db *DB) NextApplication(ctx context.Context, tenant int) (time.Time, error) {
	var next time.Time
	err := db.read.QueryRowContext(ctx, `SELECT min(CASE WHEN lease_until > due_at THEN lease_until ELSE due_at END)
		FROM applications WHERE tenant_id = $1`, tenant).Scan(stamped{&next})
	return next, db.explain("reading the applications of", err)
}

// Lease is the right to change an application and its credentials, for a while. Each
// has a higher number than the one before; a write with an older one is refused.
type Lease struct {
	ObjectID string
	Until    time.Time

	db      *DB
	tenant  int
	holder  string
	fence   int64
	touched int64
}

// Fence is the lease's number.
func (l *Lease) Fence() int64 { return l.fence }

// LeaseApplication takes the lease on an application, unless another holder has it, for
// at most ten minutes. The times are those of the database's own clock; a lease that ends
// later than any can was taken by a clock that has been set back since.
func (db *DB) LeaseApplication(ctx context.Context, tenant int, objectID, holder string, d time.Duration) (*Lease, error) {
	l := &Lease{ObjectID: objectID, db: db, tenant: tenant, holder: holder}
	err := db.Write(ctx, func(tx *Tx) error {
		l.Until = tx.Now.Add(min(d, longestLease))
		n, err := tx.exec(`UPDATE applications SET lease_holder = $1, lease_until = $2, fence = fence + 1
			WHERE tenant_id = $3 AND object_id = $4 AND (lease_until IS NULL OR lease_until <= $5 OR lease_until > $6 OR lease_holder = $1)`,
			holder, stamp(l.Until), tenant, objectID, stamp(tx.Now), stamp(tx.Now.Add(longestLease)))
		if err != nil {
			return fmt.Errorf("taking the lease on an application: %w", err)
		}
		if n == 0 {
			return ErrLeased
		}
		return tx.queryRow(`SELECT fence, touched FROM applications WHERE tenant_id = $1 AND object_id = $2`, tenant, objectID).Scan(&l.fence, &l.touched)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ErrLeased says that another process is at work on the application, or that there is
// no such application.
var ErrLeased = errors.New("another process is at work on this application")

// Extend prolongs the lease.
func (l *Lease) Extend(ctx context.Context, d time.Duration) error {
	return l.db.Write(ctx, func(tx *Tx) error {
		if err := l.check(tx); err != nil {
			return err
		}
		l.Until = tx.Now.Add(d)
		_, err := tx.exec(`UPDATE applications SET lease_until = $1 WHERE tenant_id = $2 AND object_id = $3`,
			stamp(l.Until), l.tenant, l.ObjectID)
		return err
	})
}

// Release gives the lease back, and says when the application is due next, and whether it
// is urgent then. If a person has changed something since the application was read, it is
// due at once.
func (l *Lease) Release(ctx context.Context, due time.Time, urgent bool) error {
	return l.db.Write(ctx, func(tx *Tx) error {
		if err := l.check(tx); err != nil {
			return err
		}
		var touched int64
		if err := tx.queryRow(`SELECT touched FROM applications WHERE tenant_id = $1 AND object_id = $2`, l.tenant, l.ObjectID).Scan(&touched); err != nil {
			return err
		}
		if touched != l.touched {
			due = tx.Now
		}
		_, err := tx.exec(`UPDATE applications SET lease_holder = NULL, lease_until = NULL, due_at = $1, urgent = $2
			WHERE tenant_id = $3 AND object_id = $4`, stamp(due), urgent, l.tenant, l.ObjectID)
		return err
	})
}

func (l *Lease) check(tx *Tx) error {
	var fence int64
	if err := tx.queryRow(`SELECT fence FROM applications WHERE tenant_id = $1 AND object_id = $2`, l.tenant, l.ObjectID).Scan(&fence); err != nil {
		return fmt.Errorf("checking the lease on an application: %w", err)
	}
	if fence != l.fence {
		return ErrFenced
	}
	return nil
}

// Read gives the application as it is now, without the credentials that were destroyed
// and have expired: nothing is planned by them any more.
func (l *Lease) Read(ctx context.Context) (credential.Application, error) {
	var touched int64
	err := l.db.read.QueryRowContext(ctx, `SELECT touched FROM applications WHERE tenant_id = $1 AND object_id = $2`, l.tenant, l.ObjectID).Scan(&touched)
	if err != nil {
		return credential.Application{}, l.db.explain("reading", err)
	}
	all, err := l.db.applications(ctx, l.tenant, l.ObjectID, l.ObjectID, stamp(l.db.now()))
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return credential.Application{}, err
	}
	l.touched = touched // read before, so that no change is overlooked
	return all[0], nil
}

// Write runs f in a transaction that survives a loss of power once it is committed. It
// fails with [ErrFenced], and nothing is written, if the lease has gone to another.
func (l *Lease) Write(ctx context.Context, f func(*CredentialTx) error) error {
	return l.db.writeDurably(ctx, func(tx *Tx) error {
		if err := l.check(tx); err != nil {
			return err
		}
		return f(&CredentialTx{tx, l})
	})
}

// CredentialTx writes to one application, under a lease.
type CredentialTx struct {
	*Tx
	lease *Lease
}

// SaveApplication writes what reeve knows of the application; name, mode and policy are
// people's and stay.
func (tx *CredentialTx) SaveApplication(a credential.Application) error {
	_, data, err := encodeApplication(a)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE applications SET data = $1 WHERE tenant_id = $2 AND object_id = $3`, data, tx.lease.tenant, tx.lease.ObjectID); err != nil {
		return fmt.Errorf("writing application %s: %w", a.Name, err)
	}
	return nil
}

// SaveCredential writes a credential.
func (tx *CredentialTx) SaveCredential(c credential.Credential) error {
	return tx.saveCredential(tx.lease.tenant, tx.lease.ObjectID, c)
}

// Journal adds an entry to the journal of the application.
func (tx *CredentialTx) Journal(e JournalEntry) error {
	e.Fence = tx.lease.fence
	return tx.journal(tx.lease.tenant, tx.lease.ObjectID, e)
}

// Fulfil takes a wish away, unless it was renewed since.
func (tx *CredentialTx) Fulfil(w credential.Wish) error {
	_, err := tx.exec(`DELETE FROM credential_wishes WHERE tenant_id = $1 AND object_id = $2 AND kind = $3 AND credential_id = $4 AND asked_at = $5`,
		tx.lease.tenant, tx.lease.ObjectID, string(w.Kind), w.Credential, stamp(w.At))
	return err
}

// PlanDeploy records that a hook is to be run for a credential.
func (tx *CredentialTx) PlanDeploy(d credential.Deploy) error {
	_, err := tx.exec(`INSERT INTO credential_deploys (tenant_id, object_id, credential_id, hook, attempts, due_at, error)
		VALUES ($1, $2, $3, $4, 0, $5, '') ON CONFLICT (tenant_id, object_id, credential_id, hook) DO UPDATE
		SET attempts = 0, due_at = excluded.due_at, error = '', done_at = NULL`,
		tx.lease.tenant, tx.lease.ObjectID, d.Credential, d.Hook, stamp(d.DueAt))
	return err
}

// SaveDeploy records how a hook went: done when due is zero and there is no error.
func (tx *CredentialTx) SaveDeploy(d credential.Deploy) error {
	var done any
	if d.DueAt.IsZero() && d.Error == "" {
		done = stamp(tx.Now)
	}
	_, err := tx.exec(`UPDATE credential_deploys SET attempts = $1, due_at = $2, error = $3, done_at = $4
		WHERE tenant_id = $5 AND object_id = $6 AND credential_id = $7 AND hook = $8`,
		d.Attempts, stamp(d.DueAt), d.Error, done, tx.lease.tenant, tx.lease.ObjectID, d.Credential, d.Hook)
	return err
}

func (tx *Tx) saveCredential(tenant int, objectID string, c credential.Credential) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing credential %s: %w", c.ID, err)
	}
	if _, err := tx.exec(`INSERT INTO credentials (tenant_id, id, object_id, state, sha256, not_after, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, id) DO UPDATE
		SET state = excluded.state, sha256 = excluded.sha256, not_after = excluded.not_after, data = excluded.data`,
		tenant, c.ID, objectID, string(c.State), null(c.SHA256), stamp(c.NotAfter), string(data)); err != nil {
		return fmt.Errorf("writing credential %s: %w", c.ID, err)
	}
	return nil
}

func (tx *Tx) journal(tenant int, objectID string, e JournalEntry) error {
	var before string
	err := tx.queryRow(`SELECT seq, digest FROM credential_journal WHERE tenant_id = $1 AND object_id = $2 ORDER BY seq DESC LIMIT 1`, tenant, objectID).Scan(&e.Seq, &before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("reading the journal: %w", err)
	}
	e.Seq++
	if e.At.IsZero() {
		e.At = tx.Now
	}
	e.At = e.At.UTC().Truncate(time.Millisecond) // as it is kept
	e.Digest = e.digest(objectID, before)
	if _, err := tx.exec(`INSERT INTO credential_journal (tenant_id, object_id, seq, at, actor, credential_id, step, outcome, text, data, fence, digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		tenant, objectID, e.Seq, stamp(e.At), e.Actor, e.Credential, e.Step, e.Outcome, e.Text, string(e.Data), e.Fence, e.Digest); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// digest is over the entry and the digest of the one before.
func (e JournalEntry) digest(objectID, before string) string {
	text, _ := json.Marshal([]any{before, objectID, e.Seq, e.At.UnixMilli(), e.Actor, e.Credential, e.Step, e.Outcome, e.Text, string(e.Data), e.Fence}) // cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Journal gives the entries of an application after a number, oldest first, and at most
// limit of them.
func (db *DB) Journal(ctx context.Context, tenant int, objectID string, after int64, limit int) ([]JournalEntry, error) {
	return list(ctx, db, "reading the journal of", scanEntry, `SELECT seq, at, actor, credential_id, step, outcome, text, data, fence, digest FROM credential_journal
		WHERE tenant_id = $1 AND object_id = $2 AND seq > $3 ORDER BY seq LIMIT $4`, tenant, objectID, after, limit)
}

// AddJournal adds an entry about something that was done to an application's
// certificates without a lease, such as handing one out.
func (db *DB) AddJournal(ctx context.Context, tenant int, objectID string, e JournalEntry) error {
	return db.writeDurably(ctx, func(tx *Tx) error { return tx.journal(tenant, objectID, e) })
}

// JournalEnd is the number of the newest entry of an application; 0 if there is none.
func (db *DB) JournalEnd(ctx context.Context, tenant int, objectID string) (int64, error) {
	var end int64
	err := db.read.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM credential_journal
		WHERE tenant_id = $1 AND object_id = $2`, tenant, objectID).Scan(&end)
	return end, db.explain("reading the journal of", err)
}

// CheckJournal reads the journal of an application whole and reports the first entry
// that is missing or is not as it was written. It cannot tell that the newest ones were
// cut off.
func (db *DB) CheckJournal(ctx context.Context, tenant int, objectID string) (entries int64, err error) {
	before := ""
	for {
		page, err := db.Journal(ctx, tenant, objectID, entries, 1000)
		if err != nil {
			return entries, err
		}
		for _, e := range page {
			if e.Seq != entries+1 {
				return entries, fmt.Errorf("the journal has no entry %d: it was taken out of the database by other means than reeve", entries+1)
			}
			if e.Digest != e.digest(objectID, before) {
				return entries, fmt.Errorf("entry %d of the journal is not as reeve wrote it: it was changed by other means", e.Seq)
			}
			entries, before = e.Seq, e.Digest
		}
		if len(page) == 0 {
			return entries, nil
		}
	}
}

// encodeApplication gives the policy, and the rest that reeve knows.
func encodeApplication(a credential.Application) (policy, data string, err error) {
	p, err := json.Marshal(a.Policy)
	if err != nil {
		return "", "", fmt.Errorf("writing the policy of application %s: %w", a.Name, err)
	}
	a.Policy, a.Wishes = credential.Policy{}, nil // each has its own place
	d, err := json.Marshal(a)
	if err != nil {
		return "", "", fmt.Errorf("writing application %s: %w", a.Name, err)
	}
	return string(p), string(d), nil
}

// SetFindings replaces the findings about an application by others. One that stood
// already keeps its date.
func (tx *CredentialTx) SetFindings(tenant int, objectID string, found []Finding) error {
	stands := map[[2]string]bool{}
	for _, f := range found {
		stands[[2]string{f.Rule, f.Subject}] = true
		if err := tx.find(tenant, f); err != nil {
			return fmt.Errorf("writing a finding: %w", err)
		}
	}
	rows, err := tx.query(`SELECT rule, subject FROM findings
		WHERE tenant_id = $1 AND (subject = $2 OR subject LIKE $3)`, tenant, objectID, objectID+"/%")
	if err != nil {
		return fmt.Errorf("reading the findings: %w", err)
	}
	var over [][2]string
	for rows.Next() {
		var key [2]string
		if err := rows.Scan(&key[0], &key[1]); err != nil {
			rows.Close()
			return fmt.Errorf("reading the findings: %w", err)
		}
		if !stands[key] {
			over = append(over, key)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the findings: %w", err)
	}
	for _, key := range over {
		if _, err := tx.exec(`DELETE FROM findings WHERE tenant_id = $1 AND rule = $2 AND subject = $3`, tenant, key[0], key[1]); err != nil {
			return fmt.Errorf("removing a finding: %w", err)
		}
	}
	return nil
}

// LastIntent gives the newest intent of a step for a credential. The error matches
// [ErrNotFound] if there is none.
func (db *DB) LastIntent(ctx context.Context, tenant int, objectID, id, step string) (JournalEntry, error) {
	found, err := list(ctx, db, "reading the journal of", scanEntry, `SELECT seq, at, actor, credential_id, step, outcome, text, data, fence, digest FROM credential_journal
		WHERE tenant_id = $1 AND object_id = $2 AND credential_id = $3 AND step = $4 AND outcome = $5 ORDER BY seq DESC LIMIT 1`,
		tenant, objectID, id, step, Intent)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return JournalEntry{}, err
	}
	return found[0], nil
}

func scanEntry(rows *sql.Rows, e *JournalEntry) error {
	var data string
	err := rows.Scan(&e.Seq, stamped{&e.At}, &e.Actor, &e.Credential, &e.Step, &e.Outcome, &e.Text, &data, &e.Fence, &e.Digest)
	if data != "" {
		e.Data = json.RawMessage(data)
	}
	return err
}
