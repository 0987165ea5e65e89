-- A secret that only the instances on this database share: one row. The names and encryption keys
-- of their values and messages in Redis are derived from it.
CREATE TABLE deployment (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    secret        BYTEA NOT NULL,
    created_at_ms BIGINT NOT NULL
);
