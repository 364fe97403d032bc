-- The backup room. One document of the Freezer API each: a backup record, a client, a job, an action or a session.
-- seq is the order of creation. scope is the owner where two owners may use the same id, else empty. body is the
-- document as it is answered, without its version. taken_at is when a backup was taken, in seconds, as its maker says.
CREATE TABLE backup_documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    taken_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX backup_documents_by_id ON backup_documents (id, kind, scope);
CREATE INDEX backup_documents_by_owner ON backup_documents (owner, kind, seq);

-- What a document is found by: the tokens of search.rs, under its seq. Only the index is kept, not the tokens.
CREATE VIRTUAL TABLE backup_search USING fts5 (
    tokens, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
