-- Trained detectors. The weights lie in artefact storage, durable before the row that names them is written.
CREATE TABLE detectors (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    family INTEGER NOT NULL REFERENCES families (id) ON DELETE CASCADE,

    -- The four kinds of the contract, those that are not built yet included: widening a CHECK would mean a new table.
    kind TEXT NOT NULL CHECK (kind IN ('graphrnn', 'gran', 'full-mask', 'full-edge-prediction')),

    -- The job that made it, of the same family; none for the samples that ship with the service.
    job BLOB,

    -- `detector::Manifest` as JSON, its distributions left out: they have a table of their own.
    manifest TEXT NOT NULL CHECK (json_valid(manifest)),

    -- Of the artefact's files, in hexadecimal: a row names these bytes and no others.
    weights_sha256 TEXT NOT NULL CHECK (length(weights_sha256) = 64),
    manifest_sha256 TEXT NOT NULL CHECK (length(manifest_sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    created_at INTEGER NOT NULL,

    FOREIGN KEY (job, family) REFERENCES jobs (id, family) ON DELETE CASCADE,

    -- For the active detectors' foreign key.
    UNIQUE (id, family, kind)
) STRICT;

CREATE INDEX detectors_by_family ON detectors (family);

-- A job makes one detector, however often it is told to.
CREATE UNIQUE INDEX detectors_by_job ON detectors (job, family) WHERE job IS NOT NULL;

-- The detector of each kind that scores for a family. The key allows one of a kind, the foreign key only one of this family
-- and this kind; and a detector can't be deleted from under its family.
CREATE TABLE active_detectors (
    family INTEGER NOT NULL REFERENCES families (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    detector BLOB NOT NULL,

    PRIMARY KEY (family, kind),
    FOREIGN KEY (detector, family, kind) REFERENCES detectors (id, family, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX active_detectors_by_detector ON active_detectors (detector, family, kind);

-- A detector with what its readers want to know besides.
CREATE VIEW detector_details AS
SELECT
    detectors.*,
    families.name AS family_name,
    EXISTS (SELECT 1 FROM active_detectors WHERE active_detectors.detector = detectors.id) AS active
FROM detectors
JOIN families ON families.id = detectors.family;

-- How a statistic is distributed over a split, under one detector.
CREATE TABLE distributions (
    detector BLOB NOT NULL REFERENCES detectors (id) ON DELETE CASCADE,
    -- The order in which the detector tells them.
    position INTEGER NOT NULL CHECK (position >= 0),
    split TEXT NOT NULL CHECK (split IN ('train', 'calibration', 'test')),
    statistic TEXT NOT NULL,

    -- `stats::Summary` and `stats::Histogram` as JSON.
    summary TEXT NOT NULL CHECK (json_valid(summary)),
    histogram_10 TEXT NOT NULL CHECK (json_valid(histogram_10)),
    histogram_50 TEXT NOT NULL CHECK (json_valid(histogram_50)),

    PRIMARY KEY (detector, position),
    UNIQUE (detector, split, statistic)
) STRICT, WITHOUT ROWID;
