-- Who an actor is, and what else is known about it. NULL: written by version 0.1.
ALTER TABLE audit ADD COLUMN kind TEXT;     -- client, user or server
ALTER TABLE audit ADD COLUMN context TEXT;  -- JSON
