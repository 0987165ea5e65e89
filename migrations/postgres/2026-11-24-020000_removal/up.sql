-- Token records by when they expire: removing a partition takes a moment, removing its rows takes minutes and leaves the
-- table as large as it was. The server makes the partitions; what falls into none is in tokens_default, which is the
-- whole of the table as it was before.
--
-- The key of a partitioned table must hold what it is partitioned by. A jti is unique all the same: it and expires_at
-- come from the same signed token, so a record that is written twice has the same expires_at.
ALTER TABLE tokens RENAME TO tokens_default;
ALTER TABLE tokens_default DROP CONSTRAINT tokens_pkey;
ALTER TABLE tokens_default ADD CONSTRAINT tokens_default_pkey PRIMARY KEY (jti, expires_at);
CREATE INDEX tokens_default_by_expiry ON tokens_default (expires_at);

CREATE TABLE tokens (
    jti        TEXT    COLLATE "C" NOT NULL,
    client_id  TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    audience   TEXT    NOT NULL,
    issued_at  BIGINT  NOT NULL,     -- seconds
    expires_at BIGINT  NOT NULL,     -- seconds
    one_time   BOOLEAN NOT NULL,
    PRIMARY KEY (jti, expires_at)
) PARTITION BY RANGE (expires_at);
ALTER TABLE tokens ATTACH PARTITION tokens_default DEFAULT;

CREATE INDEX revocations_by_expiry ON revocations (expires_at);
CREATE INDEX redemptions_by_expiry ON redemptions (expires_at);
