-- Training jobs: the queue, and what became of each job.
--
-- A row is the one truth about its job. Every change happens in one transaction with the event that tells of it, and what a
-- worker commits is fenced by its attempt number.
CREATE TABLE jobs (
    -- The order of arrival.
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    family INTEGER NOT NULL REFERENCES families (id) ON DELETE CASCADE,

    -- `train::TrainingSpec`, resolved, as JSON.
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),

    -- The number of the newest attempt. It is the fence, so it only grows: not even a retry sets it back, or a worker
    -- thought dead could commit under a number that means another attempt by now.
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),

    -- The attempts that count towards giving up: none after a retry, one fewer after an orderly shutdown.
    counted_attempts INTEGER NOT NULL DEFAULT 0 CHECK (counted_attempts BETWEEN 0 AND attempt),

    -- The place in the queue. An interrupted job keeps its place; one that a user retries goes to the end.
    queued_at INTEGER NOT NULL,
    -- Of a queued job: when it may be claimed.
    not_before INTEGER,
    -- Of a running job: when it may be taken from a worker that has fallen silent.
    lease_until INTEGER,
    -- Of the newest attempt.
    started_at INTEGER,
    -- Of a job at its end.
    finished_at INTEGER,

    -- `train::Progress` as JSON, the last that was told; kept when the job ends.
    progress TEXT CHECK (json_valid(progress)),
    eta_seconds REAL,

    -- The last durable checkpoint. Where it lies follows from the job's id.
    checkpoint_epoch INTEGER CHECK (checkpoint_epoch >= 0),
    checkpoint_at INTEGER,

    -- What a succeeded job made. No foreign key: the job still succeeded when its detector has been deleted since.
    detector BLOB CHECK (length(detector) = 16),
    -- `job::JobFailure` as JSON: why a failed job failed. Kept as long as the job.
    failure TEXT CHECK (json_valid(failure)),

    created_at INTEGER NOT NULL,

    -- `job::JobState`, once more.
    CHECK ((state = 'queued') = (not_before IS NOT NULL)),
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK (state <> 'running' OR attempt > 0),
    CHECK (state <> 'succeeded' OR attempt > 0),
    CHECK ((attempt > 0) = (started_at IS NOT NULL)),
    CHECK ((state = 'succeeded') = (detector IS NOT NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((checkpoint_epoch IS NULL) = (checkpoint_at IS NULL)),

    -- For the detectors' foreign key: a job's detector belongs to the job's family.
    UNIQUE (id, family)
) STRICT;

-- "Which job is next?"
CREATE INDEX jobs_queued ON jobs (queued_at, sequence) WHERE state = 'queued';

-- "Whose lease has run out?"
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';

-- "Has this family jobs that are not at their end?", and the cascade.
CREATE INDEX jobs_by_family ON jobs (family, state);

-- A job with its family's name, which its readers always want.
CREATE VIEW job_details AS
SELECT jobs.*, families.name AS family_name
FROM jobs
JOIN families ON families.id = jobs.family;

-- A job's history, numbered from 1 within the job: what `GET .../events` streams and resumes.
CREATE TABLE job_events (
    job BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    at INTEGER NOT NULL,

    -- `job::JobEventKind` as JSON.
    event TEXT NOT NULL CHECK (json_valid(event)),
    -- Only the newest of a job's progress events are kept: a long job must not grow for ever.
    is_progress INTEGER NOT NULL CHECK (is_progress IN (0, 1)),

    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;

-- "Which progress events are old?"
CREATE INDEX job_events_progress ON job_events (job, sequence) WHERE is_progress = 1;

-- Answers to requests that carried an `Idempotency-Key`. They live as long as the job that the first such request made.
CREATE TABLE idempotency_keys (
    key TEXT NOT NULL PRIMARY KEY,
    -- A key that comes again with another request is a mistake worth telling.
    request_sha256 TEXT NOT NULL,
    job BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job);
