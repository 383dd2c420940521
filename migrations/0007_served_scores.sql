-- What was said of graphs that were scored under a family: the traffic that `GET .../drift` compares with the calibration
-- graphs. Kept for a while and up to a number, both settings; the oldest go first.
CREATE TABLE served_scores (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    family INTEGER NOT NULL REFERENCES families (id) ON DELETE CASCADE,

    -- The ids of the detectors that scored together, 16 bytes each, in the order of their kinds. Scores under other detectors
    -- can't be compared. No foreign key: a score says something of its detectors only while these are the active ones.
    detectors BLOB NOT NULL CHECK (length(detectors) > 0 AND length(detectors) % 16 = 0),

    -- When the graph arrived, not when it was done: what is small is done sooner, and the order must not depend on that.
    at INTEGER NOT NULL,

    -- The combined nonconformity under each calibration fold, as JSON: numbers, `null` where one isn't finite.
    nonconformities TEXT NOT NULL CHECK (json_valid(nonconformities)),

    -- Drawn once, so that what is asked again is answered the same.
    tie_break REAL NOT NULL CHECK (tie_break >= 0 AND tie_break < 1)
) STRICT;

-- "The last so many of this family", "those older than this", and the cascade.
CREATE INDEX served_scores_in_order ON served_scores (family, at);
