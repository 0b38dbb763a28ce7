-- Runs unchanged on SQLite and on PostgreSQL.

-- JSON array of examples, many to a row. NULL in rows that were written before, which hold one in their
-- other columns; these are empty where this one is not.
ALTER TABLE job_examples ADD COLUMN batch TEXT;
