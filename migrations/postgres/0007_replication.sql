-- The sites of the topology. The secret in `token` is sealed.
CREATE TABLE replication_sites (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    uri TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('UP', 'DOWN', 'DELETED', 'UNKNOWN')),
    token TEXT,
    -- When orders were last taken over by the site, and what it has answered last about those it took.
    delivered_at BIGINT,
    reported_at BIGINT,
    report TEXT,
    -- What is wrong, for people; NULL when nothing is.
    failures BIGINT NOT NULL,
    retry_at BIGINT,
    problem TEXT,
    problem_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE replication_buckets (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The owner.
    client TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When this record last changed, in the order of its changes.
    event_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE INDEX replication_buckets_by_client ON replication_buckets (client, name);
CREATE INDEX replication_buckets_expiring ON replication_buckets (expires_at) WHERE expires_at IS NOT NULL;

-- One name in one bucket. The bytes of a READY object lie in the site's store under `id`.
CREATE TABLE replication_objects (
    bucket TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    status TEXT NOT NULL,
    -- At the site that it was first written at; of a tombstone, when it was deleted.
    created_at BIGINT NOT NULL,
    event_at BIGINT NOT NULL,
    expires_at BIGINT,
    size_bytes BIGINT NOT NULL,
    -- In hexadecimal; NULL while nothing was stored.
    sha256 TEXT,
    -- A JSON object of texts.
    metadata TEXT NOT NULL,
    -- The site that it was first written at.
    origin TEXT NOT NULL,
    -- The deletion that an upload under way or a failed one came after; NULL when there was none.
    buried_at BIGINT,
    PRIMARY KEY (bucket, name)
);

CREATE INDEX replication_objects_expiring ON replication_objects (expires_at) WHERE expires_at IS NOT NULL;

-- Record ids whose bytes are being written by requests. One that is not renewed belongs to a dead process.
CREATE TABLE replication_uploads (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bucket TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- The process.
    holder TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL
);

CREATE INDEX replication_uploads_by_holder ON replication_uploads (holder);
CREATE INDEX replication_uploads_by_time ON replication_uploads (held_until);

-- Record ids whose bytes are to be removed.
CREATE TABLE replication_trash (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);

-- Bytes that lost against others of the same name; they can be had back for a while.
CREATE TABLE replication_kept (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bucket TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    metadata TEXT NOT NULL,
    origin TEXT NOT NULL,
    -- What took its place.
    winner_sha256 TEXT NOT NULL,
    kept_at BIGINT NOT NULL,
    until BIGINT NOT NULL
);

CREATE INDEX replication_kept_by_name ON replication_kept (bucket, name);
CREATE INDEX replication_kept_by_time ON replication_kept (until);

-- What a client may do with the objects of a bucket: READ 1, WRITE 2, DELETE 4.
CREATE TABLE replication_ownerships (
    client TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    rights BIGINT NOT NULL,
    PRIMARY KEY (client, bucket)
);

CREATE INDEX replication_ownerships_by_bucket ON replication_ownerships (bucket);

-- Orders for other sites, in the order of the changes; written with the change.
CREATE TABLE replication_outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site TEXT COLLATE "C" NOT NULL,
    op_id TEXT NOT NULL,
    from_site TEXT,
    client TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    -- Empty for an order about the bucket.
    object TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    action TEXT NOT NULL,
    event_at BIGINT,
    created_at BIGINT NOT NULL,
    -- A dead letter: the site refused it for good.
    dead_at BIGINT,
    problem TEXT
);

CREATE INDEX replication_outbox_by_site ON replication_outbox (site, seq) WHERE dead_at IS NULL;
CREATE INDEX replication_outbox_dead ON replication_outbox (site, seq) WHERE dead_at IS NOT NULL;

-- Orders from other sites, in the order of arrival. What is done is deleted.
CREATE TABLE replication_orders (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op_id TEXT NOT NULL,
    from_site TEXT,
    client TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    object TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    action TEXT NOT NULL,
    event_at BIGINT,
    state TEXT NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'WAIT', 'IGNORED', 'CONFLICT', 'FAILED')),
    attempts BIGINT NOT NULL,
    -- How often the bytes that came were not those that were promised.
    mismatches BIGINT NOT NULL,
    retry_at BIGINT,
    problem TEXT,
    -- The record id that its bytes lie under, made with the order, so that a crash leaves none that nobody knows.
    record_id TEXT COLLATE "C" NOT NULL,
    -- Where an unfinished copy goes on.
    resume TEXT,
    received_at BIGINT NOT NULL,
    ended_at BIGINT
);

CREATE INDEX replication_orders_ready ON replication_orders (seq) WHERE ended_at IS NULL AND state <> 'WAIT';
CREATE INDEX replication_orders_waiting ON replication_orders (retry_at) WHERE state = 'WAIT';
CREATE INDEX replication_orders_by_source ON replication_orders (from_site) WHERE ended_at IS NULL;
CREATE INDEX replication_orders_by_key ON replication_orders (bucket, object, seq) WHERE ended_at IS NULL;
CREATE INDEX replication_orders_by_record ON replication_orders (record_id) WHERE ended_at IS NULL;
CREATE INDEX replication_orders_ended ON replication_orders (ended_at) WHERE ended_at IS NOT NULL;

-- Reconciliations, purges, imports and pushes to an empty site.
CREATE TABLE replication_runs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('central', 'local', 'purge', 'import', 'sync')),
    client TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C",
    -- What was asked for, a JSON object.
    request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'done', 'failed', 'canceled')),
    -- Rises whenever the run is resumed: what an earlier task of it writes is refused.
    turn BIGINT NOT NULL,
    -- Where the run goes on after a crash, a JSON object.
    point TEXT NOT NULL,
    checked BIGINT NOT NULL,
    checked_db BIGINT NOT NULL,
    checked_driver BIGINT NOT NULL,
    checked_remote BIGINT NOT NULL,
    actions BIGINT NOT NULL,
    problem TEXT,
    started_at BIGINT NOT NULL,
    stopped_at BIGINT
);

CREATE INDEX replication_runs_stopped ON replication_runs (stopped_at) WHERE stopped_at IS NOT NULL;

-- What a site has under a name, found by a local run.
CREATE TABLE replication_findings (
    run TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- The code of the status (contract, section 8 B).
    code BIGINT NOT NULL,
    event_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    origin TEXT NOT NULL,
    -- Whether the run's filter is about this one; the others are there to be compared with.
    matched BOOLEAN NOT NULL,
    PRIMARY KEY (run, name)
);

-- What is to be done about a name, found by a central run.
CREATE TABLE replication_actions (
    run TEXT COLLATE "C" NOT NULL,
    site TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    action TEXT NOT NULL,
    -- The sites that have it, a JSON list.
    sources TEXT NOT NULL,
    -- Of the version to have.
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    event_at BIGINT NOT NULL,
    PRIMARY KEY (run, site, name)
);
