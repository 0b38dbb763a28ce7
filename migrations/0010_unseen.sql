-- Runs unchanged on SQLite and on PostgreSQL.

-- The rows that the twin was not fit on, by four bytes of each text's hash. NULL, for versions of earlier
-- releases, says that nothing is known of them: the twin cannot be compared with others then.
ALTER TABLE head_versions ADD COLUMN unseen BYTEA;
