-- API keys. A key is 256 random bits shown once; only its hash is kept. A plain SHA-256 will do: what cannot be guessed needs
-- no slow hash.
CREATE TABLE api_keys (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (name <> ''),
    scope TEXT NOT NULL CHECK (scope IN ('read', 'score', 'admin')),
    key_sha256 BLOB NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    created_at INTEGER NOT NULL,

    -- A revoked key keeps its row: who could do what, and until when.
    revoked_at INTEGER
) STRICT;

-- A name belongs to one living key; once that is revoked, the name may be used again.
CREATE UNIQUE INDEX api_keys_living_name ON api_keys (name) WHERE revoked_at IS NULL;
