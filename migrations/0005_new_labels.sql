-- Runs unchanged on SQLite and on PostgreSQL.

-- Whether examples may bring labels that the task does not have yet: allow or refuse.
ALTER TABLE tasks ADD COLUMN new_labels TEXT NOT NULL DEFAULT 'refuse';
