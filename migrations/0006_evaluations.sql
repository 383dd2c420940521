-- Evaluations: jobs of another task, with the same states, attempts, leases, events and keys.

-- What a succeeded job made: a detector, or of an evaluation the report that bears the job's own id.
ALTER TABLE jobs RENAME COLUMN detector TO product;

-- `job::TaskName`: what `spec` is (`train::TrainingSpec` or `evaluate::EvaluationSpec`) and `progress` tells of.
ALTER TABLE jobs ADD COLUMN task TEXT NOT NULL DEFAULT 'training'
    CHECK (task IN ('training', 'evaluation'))
    CHECK (task = 'training' OR product IS NULL OR product = id);

-- The lists, a task each.
CREATE INDEX jobs_by_task ON jobs (task, sequence);

-- What a succeeded evaluation found. Its family is the job's; what it says of others stays true when they are gone.
CREATE TABLE evaluations (
    job BLOB NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,

    -- `evaluate::Evaluation` as JSON.
    report TEXT NOT NULL CHECK (json_valid(report))
) STRICT;
