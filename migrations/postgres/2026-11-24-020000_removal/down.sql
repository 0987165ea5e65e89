DROP INDEX redemptions_by_expiry;
DROP INDEX revocations_by_expiry;

ALTER TABLE tokens RENAME TO tokens_partitioned;
ALTER TABLE tokens_partitioned RENAME CONSTRAINT tokens_pkey TO tokens_partitioned_pkey;
CREATE TABLE tokens (
    jti        TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    client_id  TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    audience   TEXT    NOT NULL,
    issued_at  BIGINT  NOT NULL,     -- seconds
    expires_at BIGINT  NOT NULL,     -- seconds
    one_time   BOOLEAN NOT NULL
);
INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time)
    SELECT jti, client_id, scope, audience, issued_at, expires_at, one_time FROM tokens_partitioned
    ON CONFLICT DO NOTHING;
DROP TABLE tokens_partitioned;
