-- The newest commits by their id, so that one whose answer was lost is known when it is sent again.
CREATE TABLE commits (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL
);

CREATE INDEX commits_version ON commits (version);
