-- Work that one process at a time does. A lease that has ended may be taken by anybody.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ns BIGINT NOT NULL
);
