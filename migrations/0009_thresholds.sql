-- Runs unchanged on SQLite and on PostgreSQL.

-- The least probability at which a label of the task is given. NULL leaves it to the head.
ALTER TABLE tasks ADD COLUMN threshold DOUBLE PRECISION;
