-- The backup room. One document of the Freezer API each: a backup record, a client, a job, an action or a session.
-- seq is the order of creation. scope is the owner where two owners may use the same id, else empty. body is the
-- document as it is answered, without its version. taken_at is when a backup was taken, in seconds, as its maker says.
CREATE TABLE backup_documents (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    taken_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX backup_documents_by_id ON backup_documents (id, kind, scope);
CREATE INDEX backup_documents_by_owner ON backup_documents (owner, kind, seq);

-- What a document is found by: the tokens of search.rs, under its seq.
CREATE TABLE backup_search (
    seq BIGINT NOT NULL PRIMARY KEY,
    tokens TSVECTOR NOT NULL
);
-- Whoever searches reads the waiting list of the index whole, so it is kept short, kB.
CREATE INDEX backup_search_by_token ON backup_search USING gin (tokens) WITH (gin_pending_list_limit = 256);
