ALTER TABLE tokens DROP COLUMN client_ip, DROP COLUMN secret_id;
