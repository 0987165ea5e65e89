-- Who an actor is, what else is known about it, and the hash over the line and the one before
-- (src/db/audit_chain.rs). NULL: written by version 0.1.
ALTER TABLE audit
    ADD COLUMN kind    TEXT,   -- client, user or server
    ADD COLUMN context TEXT,   -- JSON
    ADD COLUMN hash    BYTEA;  -- SHA-256

-- Lines become visible in the order of their ids, whichever version writes them: the lock of the change log
-- (src/db/locks.rs), which ends with the transaction, is taken before the ids are drawn. Version 0.1
-- does not always take it before it writes, so its line could appear behind one that has a hash
-- already, which looks like a line that was inserted later.
-- The search path is fixed: no role that may create functions can put its own in place.
CREATE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7106407);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_in_order();
