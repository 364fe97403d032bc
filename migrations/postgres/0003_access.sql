-- Requests that carried an Idempotency-Key, kept for 24 hours.
CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    room TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (owner, room, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
