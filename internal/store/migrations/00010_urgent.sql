-- +goose Up

-- Whether none of its certificates works. It is looked at before others that are due, as
-- it was found when it was last looked at.
ALTER TABLE applications ADD COLUMN urgent BOOLEAN NOT NULL DEFAULT FALSE;
