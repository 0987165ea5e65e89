-- Who an actor is, what else is known about it, and the hash over the line and the one before
-- (src/db/audit_chain.rs). NULL: written by version 0.1.
ALTER TABLE audit ADD COLUMN kind TEXT;     -- client, user or server
ALTER TABLE audit ADD COLUMN context TEXT;  -- JSON
ALTER TABLE audit ADD COLUMN hash BLOB;     -- SHA-256
