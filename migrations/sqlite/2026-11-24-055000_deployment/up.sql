-- What the instances on this database share and nobody else knows: one row. The names and keys of what they tell one
-- another through Redis are derived from it.
CREATE TABLE deployment (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    secret        BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL
);
