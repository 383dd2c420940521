-- The graphs of a family. They are added and read, never changed or deleted one by one: a detector's calibration scores name
-- their rows, and an overview may trust what it counted.
CREATE TABLE graphs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    family INTEGER NOT NULL REFERENCES families (id) ON DELETE CASCADE,

    -- The graph's name for users, unique in its family.
    external_id TEXT NOT NULL CHECK (external_id <> ''),

    -- Given once, on arrival: a graph that moved from training to calibration would void every p-value after it.
    split TEXT NOT NULL CHECK (split IN ('train', 'calibration', 'test')),

    -- The same facts as in the blob, to be counted without decoding it.
    nodes INTEGER NOT NULL CHECK (nodes > 0),
    edges INTEGER NOT NULL CHECK (edges >= 0),
    labelled INTEGER NOT NULL CHECK (labelled IN (0, 1)),

    -- Weisfeiler-Leman: isomorphic graphs have the same, so a graph's possible twins are one look-up away.
    wl_hash BLOB NOT NULL CHECK (length(wl_hash) = 16),

    -- `graph::blob`. The last column: SQLite reads a row from its front, and a large blob lies on pages of its own.
    content BLOB NOT NULL,

    UNIQUE (family, external_id)
) STRICT;

-- "The graphs of this family, in the order they were added" (an index ends with the row's id).
CREATE INDEX graphs_in_order ON graphs (family);

-- "How many in each split, and how large?", answered without touching the table.
CREATE INDEX graphs_by_size ON graphs (family, split, nodes, edges, labelled);

-- "Which graphs may be twins of this one?"
CREATE INDEX graphs_by_hash ON graphs (family, wl_hash);
