-- A storage taking part in sync. Secrets in the options are sealed.
CREATE TABLE sync_entries (
    name TEXT NOT NULL PRIMARY KEY,
    -- The order of the configuration.
    position BIGINT NOT NULL,
    driver TEXT NOT NULL,
    options TEXT NOT NULL,
    -- Whether the configuration file brought it.
    configured BOOLEAN NOT NULL,
    -- What the operator asked for: 'active' or 'stopped'.
    wanted TEXT NOT NULL CHECK (wanted IN ('active', 'stopped')),
    started_at BIGINT,
    -- Since when its changes are watched; NULL while starting and when stopped.
    attended_at BIGINT,
    -- When the last whole scan ended.
    scanned_at BIGINT,
    -- Written into the root, so that two entries or two nodes on one root are noticed, and a missing root is too.
    root_id TEXT,
    -- Deletions that wait for the operator's word: a JSON object, or NULL.
    held TEXT,
    -- What is wrong, for people; NULL when nothing is.
    problem TEXT,
    problem_at BIGINT,
    -- Whether a carrier's task exists.
    carrying BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- One name, whoever holds it: its current version, or a tombstone.
CREATE TABLE sync_files (
    fid TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- Rises with every version.
    number BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    modified_at BIGINT,
    mode BIGINT,
    -- SHA-256 in hexadecimal; NULL when the bytes were not read yet.
    content TEXT,
    -- The beginnings of the SHA-256 of the versions before, oldest first.
    past TEXT NOT NULL,
    -- The entry that the version came from.
    origin TEXT NOT NULL,
    deleted BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE INDEX sync_files_by_name ON sync_files (name);
CREATE INDEX sync_files_live ON sync_files (fid) WHERE deleted = FALSE;

-- What one entry has under a name, and what is to be done there.
CREATE TABLE sync_copies (
    entry TEXT NOT NULL,
    fid TEXT NOT NULL,
    -- Whether the entry should hold the file.
    owner BOOLEAN NOT NULL,
    present BOOLEAN NOT NULL,
    -- The version that these bytes agree with; 0 for none, so that they are set aside before they are replaced.
    number BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    modified_at BIGINT,
    mode BIGINT,
    -- What the storage calls this version of the bytes.
    stamp TEXT,
    content TEXT,
    pending TEXT CHECK (pending IN ('fetch', 'delete', 'touch')),
    -- The name that what is there is given before it is replaced: it lost a conflict.
    aside TEXT,
    -- Where an unfinished fetch goes on, and of which version it is.
    resume TEXT,
    resume_number BIGINT,
    failures BIGINT NOT NULL,
    retry_at BIGINT,
    problem TEXT,
    PRIMARY KEY (entry, fid)
);

CREATE INDEX sync_copies_by_file ON sync_copies (fid);
CREATE INDEX sync_copies_pending ON sync_copies (entry, pending, fid) WHERE pending IS NOT NULL;
-- What is about to be deleted may be moved instead.
CREATE INDEX sync_copies_leaving ON sync_copies (entry, content) WHERE pending = 'delete';

-- One row: the rules as put, the rules in force, and the configuration's rules as last seen.
CREATE TABLE sync_rules (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    stored TEXT NOT NULL,
    applied TEXT NOT NULL,
    configured TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE sync_conflicts (
    id TEXT NOT NULL PRIMARY KEY,
    fid TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Whose version lost, and under which name it is kept; NULL when it was dropped by the policy.
    loser TEXT NOT NULL,
    aside TEXT,
    winner TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    resolved_at BIGINT,
    resolution TEXT
);

CREATE INDEX sync_conflicts_open ON sync_conflicts (id) WHERE resolved_at IS NULL;

-- Old versions that can be had back for a while.
CREATE TABLE sync_kept (
    id TEXT NOT NULL PRIMARY KEY,
    entry TEXT NOT NULL,
    fid TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Where it is, from the root of the entry.
    place TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    content TEXT,
    reason TEXT NOT NULL CHECK (reason IN ('replaced', 'deleted')),
    kept_at BIGINT NOT NULL
);

CREATE INDEX sync_kept_by_age ON sync_kept (kept_at);
CREATE INDEX sync_kept_by_file ON sync_kept (fid);

-- One row: what this catalogue calls itself in the roots of its entries, so that another one's are told apart.
CREATE TABLE sync_identity (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    catalogue TEXT NOT NULL
);
