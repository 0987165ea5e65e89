-- Primary keys have COLLATE "C": byte order, as in SQLite, whatever the locale of the database.

-- Clients that may get tokens. Lists are text separated by single spaces: no scope token, URI or
-- method name contains one.
CREATE TABLE clients (
    client_id     TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    scope         TEXT    NOT NULL,
    default_scope TEXT,             -- NULL: scope without mintage:*
    audiences     TEXT    NOT NULL,
    serves        TEXT    NOT NULL, -- introspection audiences
    auth_methods  TEXT    NOT NULL,
    ttl_seconds   BIGINT,           -- NULL: token.ttl
    alg           TEXT,             -- NULL: token.alg
    created_at_ms BIGINT  NOT NULL,
    updated_at_ms BIGINT  NOT NULL
);

CREATE TABLE secrets (
    secret_id       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    client_id       TEXT   COLLATE "C" NOT NULL REFERENCES clients (client_id),
    hash            TEXT   NOT NULL, -- 'sha256:' and hexadecimal digits, or a password hash
    created_at_ms   BIGINT NOT NULL,
    expires_at_ms   BIGINT,
    last_used_at_ms BIGINT
);
CREATE INDEX secrets_by_client ON secrets (client_id);

-- One record per issued token. The id rises with time, so a batch lands at the end of one B-tree.
CREATE TABLE tokens (
    jti        TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    client_id  TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    audience   TEXT    NOT NULL,
    issued_at  BIGINT  NOT NULL,     -- seconds
    expires_at BIGINT  NOT NULL,     -- seconds
    one_time   BOOLEAN NOT NULL
);

CREATE TABLE signing_keys (
    kid             TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    alg             TEXT    NOT NULL,
    private_key     BYTEA   NOT NULL,
    sealed          BOOLEAN NOT NULL, -- whether private_key is encrypted
    created_at_ms   BIGINT  NOT NULL,
    activates_at_ms BIGINT  NOT NULL,
    retires_at_ms   BIGINT
);

-- The change log: every change that a cache must apply. Writers hold an advisory lock while they
-- append, so numbers commit in order.
CREATE TABLE changes (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL
);
