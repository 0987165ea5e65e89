-- Whether requests need no token. The scope of such a route is mintage:public, which no token has,
-- so that a version without this column denies them.
ALTER TABLE routes ADD COLUMN public BOOLEAN NOT NULL DEFAULT FALSE;
