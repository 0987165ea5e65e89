-- Revoked tokens. Not a column of tokens: a token record that is inserted later must not undo a
-- revocation (G1 in docs/guarantees.md).
CREATE TABLE revocations (
    jti           TEXT   NOT NULL PRIMARY KEY,
    expires_at    BIGINT NOT NULL,   -- seconds: the token's exp
    revoked_at_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- Redeemed one-time tokens. The one insert that affects a row redeems the token (G5 in
-- docs/guarantees.md).
CREATE TABLE redemptions (
    jti            TEXT   NOT NULL PRIMARY KEY,
    expires_at     BIGINT NOT NULL,  -- seconds: the token's exp
    redeemed_at_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- Tokens of a client that were issued before this time are inactive.
CREATE TABLE not_before (
    client_id     TEXT   NOT NULL PRIMARY KEY,
    not_before_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- What /validate allows: the most specific route decides, and a request without a route is denied.
CREATE TABLE routes (
    id            TEXT   NOT NULL PRIMARY KEY,
    method        TEXT,              -- NULL: any
    host          TEXT,              -- NULL: any
    path          TEXT   NOT NULL,
    scope         TEXT   NOT NULL,
    audience      TEXT,              -- NULL: the default audience
    created_at_ms BIGINT NOT NULL
) WITHOUT ROWID;
