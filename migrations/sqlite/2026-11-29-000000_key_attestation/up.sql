-- The algorithm and the times of an encrypted key, encrypted with the same key: a row is believed
-- only for what they say. NULL without keys.encryption_key.
ALTER TABLE signing_keys ADD COLUMN attestation BLOB;
