-- The algorithm and the times of an encrypted key, encrypted with the same key: a row is believed
-- only for what they say. NULL without keys.encryption_key, and in rows of
-- 0.1 that no start has attested.
ALTER TABLE signing_keys ADD COLUMN attestation BYTEA;
