-- One row. The version grows with every commit; clean_version is that of the newest commit whose
-- dead files have been forgotten: a reader that last looked before it must read everything again.
CREATE TABLE catalog (
    version BIGINT NOT NULL,
    clean_version BIGINT NOT NULL,
    queue_id TEXT
);

INSERT INTO catalog (version, clean_version, queue_id) VALUES (0, 0, NULL);

CREATE TABLE watermarks (
    partition_number BIGINT PRIMARY KEY,
    next_offset BIGINT NOT NULL
);

-- state: pending, live, dead (was live) or abandoned (never was). Dead and abandoned files are the
-- condemned ones; their rows stay, so that they can never become live.
-- live_version and dead_version are those of the commits that made it so.
-- segments is a JSON array of arrays, in the order of the fields of model.segment.Segment.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    changed_ns BIGINT NOT NULL,
    live_version BIGINT,
    dead_version BIGINT,
    kind TEXT,
    level BIGINT,
    normaliser TEXT,
    segments TEXT
);

CREATE INDEX files_state ON files (state, changed_ns);
CREATE INDEX files_live_version ON files (live_version);
CREATE INDEX files_dead_version ON files (dead_version);

-- The objects of pending and live files. role is NULL while pending.
CREATE TABLE file_objects (
    file_id TEXT NOT NULL,
    object_key TEXT NOT NULL,
    role TEXT,
    size BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (file_id, object_key)
);

CREATE INDEX file_objects_key ON file_objects (object_key);

-- Objects that nothing needs, until they are deleted from storage.
CREATE TABLE condemned_objects (
    object_key TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    dead_ns BIGINT NOT NULL
);

-- row_numbers are unsigned 32-bit integers, little-endian, ascending.
CREATE TABLE superseded (
    file_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    position BIGINT NOT NULL,
    project TEXT NOT NULL,
    row_numbers BYTEA NOT NULL,
    traces_ipc BYTEA NOT NULL,
    PRIMARY KEY (version, position)
);

CREATE INDEX superseded_file ON superseded (file_id, version);

-- The hashes of one commit, 16 bytes each, joined; last_number counts all hashes ever committed.
CREATE TABLE bodies (
    last_number BIGINT PRIMARY KEY,
    hashes BYTEA NOT NULL
);

-- A dropped letter keeps its row until it is too old, so that a list that was read up to it can go on.
CREATE TABLE dead_letters (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    signal TEXT NOT NULL,
    received_ns BIGINT NOT NULL,
    reason TEXT NOT NULL,
    spans BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    object_key TEXT,
    object_size BIGINT,
    object_checksum TEXT
);

CREATE INDEX dead_letters_newest ON dead_letters (project, received_ns, id);
CREATE INDEX dead_letters_age ON dead_letters (received_ns);
CREATE INDEX dead_letters_object ON dead_letters (object_key);

CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);
