-- How the tokens of a client differ. NULL: as configured.
ALTER TABLE clients ADD COLUMN default_audience TEXT;  -- `aud` if the request names none
ALTER TABLE clients ADD COLUMN claims TEXT;            -- Custom claims, a JSON object
ALTER TABLE clients ADD COLUMN scope_claim TEXT;       -- scope, or scp for an array as well
ALTER TABLE clients ADD COLUMN typ TEXT;               -- at+jwt or JWT
