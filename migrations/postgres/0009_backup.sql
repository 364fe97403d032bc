-- The backup room. One document of the Freezer API each: a backup record, a client, a job, an action or a session.
-- seq is the order of creation. scope is the owner where two owners may use the same id, else empty. body is the
-- document as it is answered, without its version. taken_at is when a backup was taken, in seconds, as its maker says.
-- Of a job: its client, the instant by which it should have begun (none when nothing is expected of it), and how it is
-- doing. seen_at is when a client was heard of.
CREATE TABLE backup_documents (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    taken_at BIGINT,
    client TEXT COLLATE "C",
    due_at BIGINT,
    state TEXT CHECK (state IN ('running', 'failed', 'unclear')),
    seen_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX backup_documents_by_id ON backup_documents (id, kind, scope);
CREATE INDEX backup_documents_by_owner ON backup_documents (owner, kind, seq);
CREATE INDEX backup_documents_by_due ON backup_documents (owner, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX backup_documents_by_state ON backup_documents (owner, state) WHERE state IS NOT NULL;
CREATE INDEX backup_documents_by_sight ON backup_documents (owner, seen_at) WHERE kind = 'client';

-- The last backup of the same thing, and how large the one before it was, in bytes; sizes only of whole backups.
-- unreadable counts the files that could not be read.
CREATE TABLE backup_series (
    owner TEXT COLLATE "C" NOT NULL,
    series TEXT COLLATE "C" NOT NULL,
    backup_id TEXT COLLATE "C" NOT NULL,
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    size BIGINT,
    size_before BIGINT,
    unreadable BIGINT NOT NULL,
    PRIMARY KEY (owner, series)
);

-- What a document is found by: the tokens of search.rs, under its seq.
CREATE TABLE backup_search (
    seq BIGINT NOT NULL PRIMARY KEY,
    tokens TSVECTOR NOT NULL
);
-- Whoever searches reads the waiting list of the index whole, so it is kept short, kB.
CREATE INDEX backup_search_by_token ON backup_search USING gin (tokens) WITH (gin_pending_list_limit = 256);
