-- Token records are partitioned by expiry. Dropping a partition takes a moment; deleting its rows
-- takes minutes and leaves the table as large as it was. The server creates the partitions; a
-- record that fits none is in tokens_default.
--
-- The primary key of a partitioned table must contain the partition key. A jti is unique all the
-- same: jti and expires_at come from the same signed token, so a record that is written twice has
-- the same expires_at.
ALTER TABLE tokens RENAME TO tokens_before;
ALTER TABLE tokens_before RENAME CONSTRAINT tokens_pkey TO tokens_before_pkey;

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

CREATE TABLE tokens_default PARTITION OF tokens DEFAULT;
CREATE INDEX tokens_default_by_expiry ON tokens_default (expires_at);

-- The existing records become one partition, from the beginning of time to the expiry of the last
-- of them, and no row is copied. They must not be in the default partition: PostgreSQL scans it
-- whenever a partition is created.
DO $$
DECLARE
    ends BIGINT;
BEGIN
    SELECT (max(expires_at) / 21600 + 1) * 21600 INTO ends FROM tokens_before;
    IF ends IS NULL THEN
        DROP TABLE tokens_before;
    ELSE
        ALTER TABLE tokens_before DROP CONSTRAINT tokens_before_pkey;
        ALTER TABLE tokens_before ADD PRIMARY KEY (jti, expires_at);
        EXECUTE format('ALTER TABLE tokens_before RENAME TO tokens_until%s', ends);
        EXECUTE format('ALTER TABLE tokens ATTACH PARTITION tokens_until%s FOR VALUES FROM (MINVALUE) TO (%s)', ends, ends);
    END IF;
END
$$;

CREATE INDEX revocations_by_expiry ON revocations (expires_at);
CREATE INDEX redemptions_by_expiry ON redemptions (expires_at);
