-- Where a token was issued to. NULL: written by version 0.1, or not known. Goes to all partitions
-- and rewrites none. It waits for running reads of the table and holds back inserts that long; the
-- servers retry them.
ALTER TABLE tokens
    ADD COLUMN secret_id TEXT,  -- The secret that the client proved itself with
    ADD COLUMN client_ip TEXT;  -- In its canonical form
