-- Runs unchanged on SQLite and on PostgreSQL.

-- JSON: how many rows of the request could not be examples, and why. NULL where there was none.
ALTER TABLE jobs ADD COLUMN skipped TEXT;
