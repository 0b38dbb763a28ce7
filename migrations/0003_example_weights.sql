-- Runs unchanged on SQLite and on PostgreSQL.

-- How often an example counts in a fit; NULL stands for 1.
ALTER TABLE job_examples ADD COLUMN weight DOUBLE PRECISION;
ALTER TABLE examples ADD COLUMN weight DOUBLE PRECISION;
