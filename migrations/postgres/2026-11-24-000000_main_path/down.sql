DROP TABLE changes;
DROP TABLE signing_keys;
DROP TABLE tokens;
DROP TABLE secrets;
DROP TABLE clients;
