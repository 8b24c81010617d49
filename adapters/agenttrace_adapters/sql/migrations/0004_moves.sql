-- Where what the catalog began with came from: no row, or one. Rows of files whose offset is below
-- offset_base came with it.
CREATE TABLE moves (
    source TEXT PRIMARY KEY,
    finished BIGINT NOT NULL,
    offset_base BIGINT NOT NULL
);
