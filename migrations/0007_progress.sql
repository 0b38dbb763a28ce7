-- Runs unchanged on SQLite and on PostgreSQL.

-- JSON: how far the replica that runs the job was when it last renewed its lease. NULL unless the job
-- runs.
ALTER TABLE jobs ADD COLUMN progress TEXT;
