-- The transfer room. seq is the order of creation.
CREATE TABLE transfers (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    source_url TEXT NOT NULL,
    destination_url TEXT NOT NULL,
    source_options TEXT NOT NULL,
    destination_options TEXT NOT NULL,
    start_offset BIGINT NOT NULL,
    end_offset BIGINT NOT NULL,
    progress BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    executor TEXT,
    resume TEXT,
    checksum TEXT,
    error_code TEXT,
    error_message TEXT,
    waiting_reason TEXT,
    waiting_until BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX transfers_by_owner ON transfers (owner, seq);
CREATE INDEX transfers_by_owner_and_state ON transfers (owner, state, seq);

-- Where a deleted transfer stood in the list, so that it still works as a page marker for an hour.
CREATE TABLE transfer_markers (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    seq BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL
);
CREATE INDEX transfer_markers_by_age ON transfer_markers (deleted_at);
