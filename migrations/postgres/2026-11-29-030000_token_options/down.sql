ALTER TABLE clients DROP COLUMN typ, DROP COLUMN scope_claim, DROP COLUMN claims, DROP COLUMN default_audience;
