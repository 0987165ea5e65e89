-- Where a token was issued to. NULL: written by version 0.1, or not known.
ALTER TABLE tokens ADD COLUMN secret_id TEXT;  -- The secret that the client proved itself with
ALTER TABLE tokens ADD COLUMN client_ip TEXT;  -- In its canonical form
