-- Work to do. A finished task is deleted: the room's row and the event are its history.
-- `seq` is the order of creation; `epoch` rises with every claim and fences off earlier holders.
CREATE TABLE tasks (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT COLLATE "C" NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    payload TEXT NOT NULL,
    priority BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('ready', 'leased', 'dead')),
    epoch BIGINT NOT NULL,
    lease_token TEXT,
    lease_holder TEXT,
    lease_until BIGINT,
    stop_asked BOOLEAN NOT NULL,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);

-- The claim walks these three; none of them grows with what is finished.
CREATE INDEX tasks_ready ON tasks (owner, priority DESC, run_at, seq, kind) WHERE state = 'ready';
CREATE INDEX tasks_ready_by_time ON tasks (run_at, seq, owner, kind) WHERE state = 'ready';
CREATE INDEX tasks_leased ON tasks (owner, lease_until) WHERE state = 'leased';
CREATE INDEX tasks_dead ON tasks (finished_at) WHERE state = 'dead';
CREATE INDEX tasks_by_subject ON tasks (subject);

-- What became true. The dispatcher gives each event its position after it was committed.
CREATE TABLE events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    position BIGINT UNIQUE,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE INDEX events_unpositioned ON events (seq) WHERE position IS NULL;

-- One row: the last position given. It outlives pruned events, so positions never come twice.
CREATE TABLE event_positions (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    last BIGINT NOT NULL
);

INSERT INTO event_positions (id, last) VALUES (1, 0);

CREATE TABLE schedules (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    expression TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    payload TEXT NOT NULL,
    paused BOOLEAN NOT NULL,
    next_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE INDEX schedules_due ON schedules (next_at) WHERE paused = FALSE;
CREATE INDEX schedules_by_subject ON schedules (subject);

-- Roles that one process at a time may have, such as the dispatcher.
CREATE TABLE leases (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL
);
