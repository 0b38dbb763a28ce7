-- Runs unchanged on SQLite and on PostgreSQL. Times are microseconds since the Unix epoch; label
-- lists, job specs and epoch reports are JSON; hashes are lower-case hexadecimal.

CREATE TABLE tasks (
    name TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    -- JSON list, in the order of the head's output units.
    labels TEXT NOT NULL,
    -- The highest version number ever given to a head of the task; 0 before the first.
    last_version BIGINT NOT NULL
);

-- Rows are inserted and deleted, never updated. `job` is no foreign key: a version outlives the
-- record of the job that made it.
CREATE TABLE head_versions (
    task TEXT NOT NULL REFERENCES tasks (name),
    version BIGINT NOT NULL CHECK (version >= 1),
    encoder TEXT NOT NULL,
    parent BIGINT,
    job TEXT,
    created_at BIGINT NOT NULL,
    weights BYTEA NOT NULL,
    PRIMARY KEY (task, version),
    FOREIGN KEY (task, parent) REFERENCES head_versions (task, version)
);

-- Which version answers. A table of its own, so that it can only name a version that exists.
CREATE TABLE live_versions (
    task TEXT PRIMARY KEY REFERENCES tasks (name),
    version BIGINT NOT NULL,
    FOREIGN KEY (task, version) REFERENCES head_versions (task, version)
);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    spec TEXT NOT NULL,
    -- How many examples came with the request.
    examples BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    attempts BIGINT NOT NULL,
    -- JSON object: task to the version that the job published.
    published TEXT NOT NULL,
    -- Why the job failed or was cancelled; on a running job, why it is to be cancelled.
    reason TEXT
);

CREATE INDEX jobs_by_state ON jobs (state, id);

-- At most one job runs.
CREATE UNIQUE INDEX jobs_running ON jobs (state) WHERE state = 'running';

-- One row: whoever moves jobs into or out of the queue updates it first, so that such transactions
-- follow one another on every database.
CREATE TABLE job_queue (
    turn BIGINT NOT NULL
);

INSERT INTO job_queue (turn) VALUES (0);

CREATE TABLE job_epochs (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch BIGINT NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (job, epoch)
);

-- What came with jobs that have not ended.
CREATE TABLE job_examples (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    text TEXT NOT NULL,
    -- JSON object: task to label.
    labels TEXT NOT NULL,
    PRIMARY KEY (job, position)
);

-- What succeeded jobs were trained on.
CREATE TABLE examples (
    -- Grows in the order in which texts were first seen.
    id BIGINT PRIMARY KEY,
    -- Of the text, which may be too long for an index.
    sha256 TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL
);

CREATE TABLE example_labels (
    example BIGINT NOT NULL REFERENCES examples (id),
    task TEXT NOT NULL REFERENCES tasks (name),
    label TEXT NOT NULL,
    PRIMARY KEY (example, task)
);

CREATE INDEX example_labels_by_task ON example_labels (task, example);
