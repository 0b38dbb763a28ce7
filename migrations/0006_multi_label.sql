-- Runs unchanged on SQLite and on PostgreSQL.

-- Whether a text has exactly one of the task's labels or any number of them: single_label or
-- multi_label.
ALTER TABLE tasks ADD COLUMN kind TEXT NOT NULL DEFAULT 'single_label';

-- A row for each label, where an example had one label a task. SQLite cannot change a primary key, so
-- the table is made anew. A replica of an earlier release that still runs cannot write to it: it goes
-- on trying to end its job until it is replaced, and the job then runs anew.
DROP INDEX example_labels_by_task;

ALTER TABLE example_labels RENAME TO former_example_labels;

CREATE TABLE example_labels (
    example BIGINT NOT NULL REFERENCES examples (id),
    task TEXT NOT NULL REFERENCES tasks (name),
    -- Empty, as no label of a task is, in the one row of an example to which none of them applies.
    label TEXT NOT NULL,
    PRIMARY KEY (example, task, label)
);

INSERT INTO example_labels (example, task, label)
SELECT example, task, label FROM former_example_labels;

DROP TABLE former_example_labels;

CREATE INDEX example_labels_by_task ON example_labels (task, example);
