-- Tokens that were taken back. Not a column of tokens: a late insert of the token's record must not undo it.
CREATE TABLE revocations (
    jti           TEXT   NOT NULL PRIMARY KEY,
    expires_at    BIGINT NOT NULL,   -- seconds: the token's exp
    revoked_at_ms BIGINT NOT NULL
);

-- One-time tokens that were used. The insert that affects a row is the one use.
CREATE TABLE redemptions (
    jti            TEXT   NOT NULL PRIMARY KEY,
    expires_at     BIGINT NOT NULL,  -- seconds: the token's exp
    redeemed_at_ms BIGINT NOT NULL
);

-- Tokens of a client that were issued before this moment are not active.
CREATE TABLE not_before (
    client_id     TEXT   NOT NULL PRIMARY KEY,
    not_before_ms BIGINT NOT NULL
);

-- What /validate lets through: the most specific route decides, and without one the answer is no.
CREATE TABLE routes (
    id            TEXT   NOT NULL PRIMARY KEY,
    method        TEXT,              -- NULL: any
    host          TEXT,              -- NULL: any
    path          TEXT   NOT NULL,
    scope         TEXT   NOT NULL,
    audience      TEXT,              -- NULL: the default audience
    created_at_ms BIGINT NOT NULL
);
