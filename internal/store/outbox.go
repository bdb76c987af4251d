package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// States of a delivery.
const (
	DeliveryDue     = "due" // to be tried when its time has come
	DeliverySent    = "sent"
	DeliveryGivenUp = "given-up"
)

// An OutboxEvent is something to be told outside, as the database holds it; what
// is in it is notify's affair.
type OutboxEvent struct {
	ID      string // names what happened: the same ID is told once
	At      time.Time
	Content string
}

// Post puts an event of a tenant into the outbox, in the transaction of what it
// tells about. One whose ID is there already stays as it is.
func (tx *Tx) Post(tenant int, e OutboxEvent) error {
	if _, err := tx.exec(`INSERT INTO outbox_events (tenant_id, event, event_at, posted_at, content)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, event) DO NOTHING`,
		tenant, e.ID, stamp(e.At), stamp(tx.Now), e.Content); err != nil {
		return fmt.Errorf("putting event %s into the outbox: %w", e.ID, err)
	}
	return nil
}

// A Delivery is an event on its way to one target.
type Delivery struct {
	Event    OutboxEvent
	Target   string
	State    string
	Since    time.Time // when it was addressed
	Due      time.Time // when to try it next
	Attempts int       // begun ones, this one included
	Error    string    // of the last attempt that failed
	Ended    time.Time // when it was sent or given up
}

// An Outbox is what is to be told about one tenant, and to whom.
type Outbox struct {
	db     *DB
	tenant int
}

// Outbox gives the outbox of a tenant.
func (db *DB) Outbox(tenant int) *Outbox { return &Outbox{db: db, tenant: tenant} }

// Unaddressed counts the events that have no deliveries yet.
func (o *Outbox) Unaddressed(ctx context.Context) (int, error) {
	var n int
	err := o.db.read.QueryRowContext(ctx, `SELECT count(*) FROM outbox_events WHERE tenant_id = $1 AND addressed_at IS NULL`, o.tenant).Scan(&n)
	return n, o.db.explain("reading the outbox of", err)
}

// Address gives every new event a delivery to each of the targets, due at now. An
// event is addressed once: a target that is added later is not told it.
func (o *Outbox) Address(ctx context.Context, targets []string, now time.Time) error {
	// Look first, so that an idle outbox does not keep others from writing.
	if n, err := o.Unaddressed(ctx); err != nil || n == 0 {
		return err
	}
	return o.db.Write(ctx, func(tx *Tx) error {
		for _, target := range targets {
			// Dated right below: in a SELECT, PostgreSQL would take a parameter for text.
			if _, err := tx.exec(`INSERT INTO outbox_deliveries (tenant_id, event, target, state, since, due_at)
				SELECT tenant_id, event, $1, $2, posted_at, posted_at FROM outbox_events WHERE tenant_id = $3 AND addressed_at IS NULL
				ON CONFLICT (tenant_id, event, target) DO NOTHING`, target, DeliveryDue, o.tenant); err != nil {
				return fmt.Errorf("addressing events to %s: %w", target, err)
			}
		}
		if _, err := tx.exec(`UPDATE outbox_deliveries SET since = $1, due_at = $1 WHERE tenant_id = $2
			AND event IN (SELECT event FROM outbox_events WHERE tenant_id = $2 AND addressed_at IS NULL)`, stamp(now), o.tenant); err != nil {
			return fmt.Errorf("addressing events: %w", err)
		}
		_, err := tx.exec(`UPDATE outbox_events SET addressed_at = $1 WHERE tenant_id = $2 AND addressed_at IS NULL`, stamp(now), o.tenant)
		return err
	})
}

// Claim takes the delivery to a target that is due first, and nobody else gets it
// before until: by then its outcome is recorded, or the attempt counts as lost and
// it is due again. The error matches ErrNotFound if none is due.
func (o *Outbox) Claim(ctx context.Context, target string, now, until time.Time) (Delivery, error) {
	d := Delivery{Target: target, State: DeliveryDue, Due: until}
	err := o.db.Write(ctx, func(tx *Tx) error {
		err := tx.queryRow(`SELECT d.event, e.event_at, e.content, d.since, d.attempts + 1, coalesce(d.error, '')
			FROM outbox_deliveries d JOIN outbox_events e ON e.tenant_id = d.tenant_id AND e.event = d.event
			WHERE d.tenant_id = $1 AND d.state = $2 AND d.target = $3 AND d.due_at <= $4
			ORDER BY d.due_at, e.event_at, d.event LIMIT 1`, o.tenant, DeliveryDue, target, stamp(now)).
			Scan(&d.Event.ID, stamped{&d.Event.At}, &d.Event.Content, stamped{&d.Since}, &d.Attempts, &d.Error)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		// The number of attempts is the fence: whoever read the same row finds it changed.
		n, err := tx.exec(`UPDATE outbox_deliveries SET due_at = $1, attempts = $2
			WHERE tenant_id = $3 AND event = $4 AND target = $5 AND state = $6 AND attempts = $2 - 1`,
			stamp(until), d.Attempts, o.tenant, d.Event.ID, target, DeliveryDue)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
	return d, err
}

// Sent records that a delivery has arrived, whoever else holds it by now, and
// settles the finding of that rule about its target.
func (o *Outbox) Sent(ctx context.Context, d Delivery, now time.Time, rule string) error {
	return o.db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`UPDATE outbox_deliveries SET state = $1, ended_at = $2
			WHERE tenant_id = $3 AND event = $4 AND target = $5 AND state <> $1`,
			DeliverySent, stamp(now), o.tenant, d.Event.ID, d.Target); err != nil {
			return fmt.Errorf("recording that event %s was sent to %s: %w", d.Event.ID, d.Target, err)
		}
		_, err := tx.exec(`DELETE FROM findings WHERE tenant_id = $1 AND rule = $2 AND subject = $3`, o.tenant, rule, d.Target)
		return err
	})
}

// Failed records why an attempt failed and when to try again, and leaves the target
// alone until rest. It does nothing if the attempt counts as lost already.
func (o *Outbox) Failed(ctx context.Context, d Delivery, why string, due, rest time.Time) error {
	return o.db.Write(ctx, func(tx *Tx) error {
		n, err := tx.exec(`UPDATE outbox_deliveries SET due_at = $1, error = $2
			WHERE tenant_id = $3 AND event = $4 AND target = $5 AND state = $6 AND attempts = $7`,
			stamp(due), why, o.tenant, d.Event.ID, d.Target, DeliveryDue, d.Attempts)
		if err != nil || n == 0 {
			return err
		}
		if _, err := tx.exec(`UPDATE outbox_deliveries SET due_at = $1
			WHERE tenant_id = $2 AND state = $3 AND target = $4 AND due_at < $1 AND event <> $5`,
			stamp(rest), o.tenant, DeliveryDue, d.Target, d.Event.ID); err != nil {
			return fmt.Errorf("putting off what is for %s: %w", d.Target, err)
		}
		return nil
	})
}

// GiveUp ends a delivery that will not arrive, with a finding that says so. It does
// nothing if the attempt counts as lost already.
func (o *Outbox) GiveUp(ctx context.Context, d Delivery, why string, now time.Time, f Finding) error {
	return o.db.Write(ctx, func(tx *Tx) error {
		n, err := tx.exec(`UPDATE outbox_deliveries SET state = $1, ended_at = $2, error = $3
			WHERE tenant_id = $4 AND event = $5 AND target = $6 AND state = $7 AND attempts = $8`,
			DeliveryGivenUp, stamp(now), why, o.tenant, d.Event.ID, d.Target, DeliveryDue, d.Attempts)
		if err != nil || n == 0 {
			return err
		}
		return tx.find(o.tenant, f)
	})
}

// Drop gives up all that has been due for a target since before a time, without a
// finding, and returns how much that was.
func (o *Outbox) Drop(ctx context.Context, target, why string, before, now time.Time) (dropped int64, err error) {
	err = o.db.Write(ctx, func(tx *Tx) error {
		dropped, err = tx.exec(`UPDATE outbox_deliveries SET state = $1, ended_at = $2, error = $3
			WHERE tenant_id = $4 AND state = $5 AND target = $6 AND since <= $7 AND due_at <= $2`,
			DeliveryGivenUp, stamp(now), why, o.tenant, DeliveryDue, target, stamp(before))
		return err
	})
	return dropped, err
}

// Due gives each target that something is due for, and when the first of it is.
func (o *Outbox) Due(ctx context.Context) (map[string]time.Time, error) {
	type first struct {
		target string
		due    time.Time
	}
	all, err := list(ctx, o.db, "reading the outbox of", func(rows *sql.Rows, f *first) error {
		return rows.Scan(&f.target, stamped{&f.due})
	}, `SELECT target, min(due_at) FROM outbox_deliveries WHERE tenant_id = $1 AND state = $2 GROUP BY target`, o.tenant, DeliveryDue)
	if err != nil {
		return nil, err
	}
	due := make(map[string]time.Time, len(all))
	for _, f := range all {
		due[f.target] = f.due
	}
	return due, nil
}

// Deliveries gives the deliveries of the newest events, newest first.
func (o *Outbox) Deliveries(ctx context.Context, limit int) ([]Delivery, error) {
	return list(ctx, o.db, "reading the outbox of", func(rows *sql.Rows, d *Delivery) error {
		return rows.Scan(&d.Event.ID, stamped{&d.Event.At}, &d.Event.Content, &d.Target, &d.State, stamped{&d.Since},
			stamped{&d.Due}, &d.Attempts, &d.Error, stamped{&d.Ended})
	}, `SELECT d.event, e.event_at, e.content, d.target, d.state, d.since, d.due_at, d.attempts, coalesce(d.error, ''), d.ended_at
		FROM outbox_deliveries d JOIN outbox_events e ON e.tenant_id = d.tenant_id AND e.event = d.event
		WHERE d.tenant_id = $1 ORDER BY e.event_at DESC, d.event, d.target LIMIT $2`, o.tenant, limit)
}
