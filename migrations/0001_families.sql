-- A family is a named set of graphs of one class: what a detector learns.
CREATE TABLE families (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,

    -- Stands in URLs: ^[a-z0-9][a-z0-9._-]{0,62}$, spelt with what SQLite has.
    name TEXT NOT NULL UNIQUE
        CHECK (length(name) BETWEEN 1 AND 63)
        CHECK (name GLOB '[a-z0-9]*' AND name NOT GLOB '*[^a-z0-9._-]*'),
    description TEXT,

    -- The class label of the TU dataset that the family came from.
    class_label INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
