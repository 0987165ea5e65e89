-- How the tokens of a client differ. NULL: as configured.
ALTER TABLE clients
    ADD COLUMN default_audience TEXT,  -- `aud` if the request names none
    ADD COLUMN claims TEXT,            -- Custom claims, a JSON object
    ADD COLUMN scope_claim TEXT,       -- scope, or scp for an array as well
    ADD COLUMN typ TEXT;               -- at+jwt or JWT
