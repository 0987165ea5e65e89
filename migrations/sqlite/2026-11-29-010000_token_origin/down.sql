ALTER TABLE tokens DROP COLUMN client_ip;
ALTER TABLE tokens DROP COLUMN secret_id;
