-- Runs unchanged on SQLite and on PostgreSQL.

-- Which replica runs the job, and from when on another may take it over, by the database's clock.
-- Both are NULL unless the job runs.
ALTER TABLE jobs ADD COLUMN holder TEXT;
ALTER TABLE jobs ADD COLUMN lease_until BIGINT;

-- One row, updated with every change of a task or of what is live: whoever has seen the revision
-- before need not look further.
CREATE TABLE heads_revision (
    revision BIGINT NOT NULL
);

INSERT INTO heads_revision (revision) VALUES (0);
