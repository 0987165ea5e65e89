-- Two roles for Mintage on PostgreSQL: mintage_migrate owns the schema, and mintage serves. The server
-- can add lines to the audit log and cannot change or remove any (docs/postgresql.md).
--
-- Run it as a superuser in the database of Mintage, before the first `mintage migrate up` and after each:
--     psql -d mintage -v ON_ERROR_STOP=1 --single-transaction -f postgresql-roles.sql
-- It may be repeated at any time. A table without these grants makes the server fail, not unsafe.
-- Give the roles passwords with \password, or another authentication in pg_hba.conf.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mintage_migrate') THEN
        CREATE ROLE mintage_migrate LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mintage') THEN
        CREATE ROLE mintage LOGIN;
    END IF;
    -- The owner of a database or a schema may drop what is in it.
    EXECUTE format('ALTER DATABASE %I OWNER TO mintage_migrate', current_database());
    ALTER SCHEMA public OWNER TO mintage_migrate;
END $$;

-- A migration may change `tokens`, which belongs to the server.
GRANT mintage TO mintage_migrate;

-- The server creates the partitions of `tokens`.
GRANT USAGE, CREATE ON SCHEMA public TO mintage, mintage_migrate;

DO $$
DECLARE
    item record;
    columns text;
BEGIN
    FOR item IN
        SELECT c.oid::regclass AS name, c.relname, c.relispartition
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        IF item.relname = 'tokens' OR item.relispartition THEN
            EXECUTE format('ALTER TABLE %s OWNER TO mintage', item.name);
            CONTINUE;
        END IF;
        EXECUTE format('ALTER TABLE %s OWNER TO mintage_migrate', item.name);
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, mintage', item.name);
        CASE item.relname
            WHEN '__diesel_schema_migrations' THEN
                EXECUTE format('GRANT SELECT ON %s TO mintage', item.name);
            WHEN 'audit' THEN
                -- Without `id`, so that the server cannot choose the place of a line.
                SELECT string_agg(quote_ident(attname), ', ') INTO columns
                FROM pg_attribute
                WHERE attrelid = item.name AND attnum > 0 AND NOT attisdropped AND attname <> 'id';
                EXECUTE format('GRANT SELECT, INSERT (%s) ON %s TO mintage', columns, item.name);
            ELSE
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO mintage', item.name);
        END CASE;
    END LOOP;
    IF to_regproc('public.audit_in_order') IS NOT NULL THEN
        ALTER FUNCTION public.audit_in_order() OWNER TO mintage_migrate;
    END IF;
END $$;
