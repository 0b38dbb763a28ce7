-- Runs unchanged on SQLite and on PostgreSQL. SQLite can neither change a CHECK nor drop a NOT NULL,
-- so such tables are made anew. Tables that refer to them go along: the former ones are set aside,
-- copied, and dropped once nothing refers to them any more, so that no row is cascaded away.

DROP INDEX jobs_by_state;
DROP INDEX jobs_running;
DROP INDEX example_labels_by_task;

ALTER TABLE jobs RENAME TO former_jobs;
ALTER TABLE job_epochs RENAME TO former_job_epochs;
ALTER TABLE job_examples RENAME TO former_job_examples;
ALTER TABLE examples RENAME TO former_examples;
ALTER TABLE example_labels RENAME TO former_example_labels;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (
        state IN ('queued', 'running', 'succeeded', 'rejected', 'failed', 'cancelled')
    ),
    spec TEXT NOT NULL,
    -- How many examples came with the request.
    examples BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    attempts BIGINT NOT NULL,
    -- JSON object: task to the version that the job made live.
    published TEXT NOT NULL,
    -- Why the job was rejected, failed or was cancelled; on a running job, why it is to be cancelled.
    reason TEXT,
    -- JSON: what came of each task, and what it took. NULL for jobs that did not come to their end.
    result TEXT
);

INSERT INTO jobs
    (id, state, spec, examples, created_at, started_at, finished_at, attempts, published, reason)
SELECT id, state, spec, examples, created_at, started_at, finished_at, attempts, published, reason
FROM former_jobs;

CREATE INDEX jobs_by_state ON jobs (state, id);

-- At most one job runs.
CREATE UNIQUE INDEX jobs_running ON jobs (state) WHERE state = 'running';

CREATE TABLE job_epochs (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch BIGINT NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (job, epoch)
);

INSERT INTO job_epochs (job, epoch, report) SELECT job, epoch, report FROM former_job_epochs;

-- What came with jobs that have not ended.
CREATE TABLE job_examples (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    text TEXT NOT NULL,
    -- JSON object: task to label.
    labels TEXT NOT NULL,
    PRIMARY KEY (job, position)
);

INSERT INTO job_examples (job, position, text, labels)
SELECT job, position, text, labels FROM former_job_examples;

DROP TABLE former_job_epochs;
DROP TABLE former_job_examples;
DROP TABLE former_jobs;

-- What jobs were trained on.
CREATE TABLE examples (
    -- Grows in the order in which texts were first seen.
    id BIGINT PRIMARY KEY,
    -- Of the text, which may be too long for an index.
    sha256 TEXT NOT NULL UNIQUE,
    -- NULL where the operator wants no texts kept.
    text TEXT,
    -- When a job last taught it.
    added_at BIGINT NOT NULL
);

-- When they were added was not recorded: at the latest when the last job succeeded.
INSERT INTO examples (id, sha256, text, added_at)
SELECT id, sha256, text,
    COALESCE((SELECT MAX(finished_at) FROM jobs WHERE state = 'succeeded'), 0)
FROM former_examples;

CREATE INDEX examples_by_time ON examples (added_at);

CREATE TABLE example_labels (
    example BIGINT NOT NULL REFERENCES examples (id),
    task TEXT NOT NULL REFERENCES tasks (name),
    label TEXT NOT NULL,
    PRIMARY KEY (example, task)
);

INSERT INTO example_labels (example, task, label)
SELECT example, task, label FROM former_example_labels;

CREATE INDEX example_labels_by_task ON example_labels (task, example);

DROP TABLE former_example_labels;
DROP TABLE former_examples;

-- Of examples, and of the texts of the job that runs. Little-endian f32, as the encoder gave them.
CREATE TABLE embeddings (
    -- Of the text.
    sha256 TEXT NOT NULL,
    -- The encoder's fingerprint.
    encoder TEXT NOT NULL,
    embedding BYTEA NOT NULL,
    PRIMARY KEY (sha256, encoder)
);

-- The head that was fit without the held-out rows, and its scores on them, as JSON.
ALTER TABLE head_versions ADD COLUMN twin BYTEA;
ALTER TABLE head_versions ADD COLUMN evaluation TEXT;

-- The versions that were live before the live one; the greatest place is the one to roll back to.
CREATE TABLE earlier_live_versions (
    task TEXT NOT NULL REFERENCES tasks (name),
    place BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (task, place),
    FOREIGN KEY (task, version) REFERENCES head_versions (task, version)
);

-- Until now, each version went live when it was made.
INSERT INTO earlier_live_versions (task, place, version)
SELECT v.task, v.version, v.version
FROM head_versions v JOIN live_versions l ON l.task = v.task
WHERE v.version < l.version;
