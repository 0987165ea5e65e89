ALTER TABLE clients DROP COLUMN typ;
ALTER TABLE clients DROP COLUMN scope_claim;
ALTER TABLE clients DROP COLUMN claims;
ALTER TABLE clients DROP COLUMN default_audience;
