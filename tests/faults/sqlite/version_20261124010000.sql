-- The statements that the version with the migration 2026-11-24-010000_check_and_revoke sends to
-- SQLite: each once, with values in place of its parameters, in a possible order. A later schema must
-- accept them, because that version may still be running (CONTRIBUTING.md, "Write a migration").

-- Startup.
PRAGMA busy_timeout = 1500;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -256;
CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (
       version VARCHAR(50) PRIMARY KEY NOT NULL,
       run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
SELECT `__diesel_schema_migrations`.`version` FROM `__diesel_schema_migrations` ORDER BY `__diesel_schema_migrations`.`version` DESC;
BEGIN IMMEDIATE;
SELECT `signing_keys`.`kid`, `signing_keys`.`alg`, `signing_keys`.`private_key`, `signing_keys`.`sealed`, `signing_keys`.`created_at_ms`, `signing_keys`.`activates_at_ms`, `signing_keys`.`retires_at_ms` FROM `signing_keys` ORDER BY `signing_keys`.`created_at_ms`, `signing_keys`.`kid`;
INSERT INTO `signing_keys` (`kid`, `alg`, `private_key`, `sealed`, `created_at_ms`, `activates_at_ms`, `retires_at_ms`) VALUES ('no key', 'ES256', x'00', 0, 1, 1, NULL);
INSERT INTO `changes` (`kind`, `subject`, `at_ms`) VALUES ('keys', '', 1);
-- Not a valid key: a server that loads it logs a warning.
ROLLBACK;
SELECT max(`changes`.`seq`) FROM `changes` LIMIT 1;
SELECT `revocations`.`jti`, `revocations`.`expires_at` FROM `revocations` WHERE (`revocations`.`jti` > '') ORDER BY `revocations`.`jti` LIMIT 20000;
SELECT `redemptions`.`jti`, `redemptions`.`expires_at` FROM `redemptions` WHERE (`redemptions`.`jti` > '') ORDER BY `redemptions`.`jti` LIMIT 20000;
SELECT `clients`.`client_id` FROM `clients` WHERE (`clients`.`enabled` = 0);
SELECT `not_before`.`client_id`, `not_before`.`not_before_ms` FROM `not_before`;
SELECT `not_before`.`not_before_ms` FROM `not_before` WHERE (`not_before`.`client_id` = '') LIMIT 1;
SELECT `routes`.`id`, `routes`.`method`, `routes`.`host`, `routes`.`path`, `routes`.`scope`, `routes`.`audience`, `routes`.`created_at_ms` FROM `routes` ORDER BY `routes`.`created_at_ms`, `routes`.`id`;
SELECT `tokens`.`client_id` FROM `tokens` ORDER BY `tokens`.`jti` DESC LIMIT 10000;
SELECT `clients`.`client_id`, `clients`.`name`, `clients`.`enabled`, `clients`.`scope`, `clients`.`default_scope`, `clients`.`audiences`, `clients`.`serves`, `clients`.`auth_methods`, `clients`.`ttl_seconds`, `clients`.`alg`, `clients`.`created_at_ms`, `clients`.`updated_at_ms` FROM `clients` WHERE (1=0);

-- Clients are created, listed, changed and deleted.
BEGIN IMMEDIATE;
INSERT INTO `clients` (`client_id`, `name`, `enabled`, `scope`, `default_scope`, `audiences`, `serves`, `auth_methods`, `ttl_seconds`, `alg`, `created_at_ms`, `updated_at_ms`) VALUES ('of-the-last-version', 'Old', 1, 'orders:read', NULL, '', '', 'client_secret_basic client_secret_post', NULL, 'HS256', 1, 1);
INSERT INTO `secrets` (`secret_id`, `client_id`, `hash`, `created_at_ms`, `expires_at_ms`, `last_used_at_ms`) VALUES ('its-secret', 'of-the-last-version', 'sha256:cec483d0a52b669d91952288d7a315486a4e162123894a131d4967a55e4887c2', 1, NULL, NULL);
INSERT INTO `changes` (`kind`, `subject`, `at_ms`) VALUES ('client', 'of-the-last-version', 1);
COMMIT;
BEGIN IMMEDIATE;
UPDATE `clients` SET `client_id` = 'of-the-last-version', `name` = 'Older', `enabled` = 1, `scope` = 'orders:read', `default_scope` = NULL, `audiences` = '', `serves` = '', `auth_methods` = 'client_secret_basic client_secret_post', `ttl_seconds` = 600, `alg` = 'HS256', `created_at_ms` = 1, `updated_at_ms` = 2 WHERE (`clients`.`client_id` = 'of-the-last-version');
DELETE FROM `secrets` WHERE (`secrets`.`client_id` = 'of-the-last-version');
INSERT INTO `secrets` (`secret_id`, `client_id`, `hash`, `created_at_ms`, `expires_at_ms`, `last_used_at_ms`) VALUES ('its-secret', 'of-the-last-version', 'sha256:cec483d0a52b669d91952288d7a315486a4e162123894a131d4967a55e4887c2', 1, NULL, NULL);
COMMIT;
UPDATE `clients` SET `enabled` = 0, `updated_at_ms` = 3 WHERE (`clients`.`client_id` = 'of-the-last-version');
UPDATE `clients` SET `enabled` = 1, `updated_at_ms` = 4 WHERE (`clients`.`client_id` = 'of-the-last-version');
SELECT `clients`.`client_id`, `clients`.`name`, `clients`.`enabled`, `clients`.`scope`, `clients`.`default_scope`, `clients`.`audiences`, `clients`.`serves`, `clients`.`auth_methods`, `clients`.`ttl_seconds`, `clients`.`alg`, `clients`.`created_at_ms`, `clients`.`updated_at_ms` FROM `clients` WHERE (`clients`.`client_id` = 'of-the-last-version');
SELECT `clients`.`client_id`, `clients`.`name`, `clients`.`enabled`, `clients`.`scope`, `clients`.`default_scope`, `clients`.`audiences`, `clients`.`serves`, `clients`.`auth_methods`, `clients`.`ttl_seconds`, `clients`.`alg`, `clients`.`created_at_ms`, `clients`.`updated_at_ms` FROM `clients` WHERE (`clients`.`client_id` IN ('of-the-last-version'));
SELECT `clients`.`client_id`, `clients`.`name`, `clients`.`enabled`, `clients`.`scope`, `clients`.`default_scope`, `clients`.`audiences`, `clients`.`serves`, `clients`.`auth_methods`, `clients`.`ttl_seconds`, `clients`.`alg`, `clients`.`created_at_ms`, `clients`.`updated_at_ms` FROM `clients` WHERE (`clients`.`client_id` > '') ORDER BY `clients`.`client_id` LIMIT 2;
SELECT `secrets`.`secret_id`, `secrets`.`client_id`, `secrets`.`hash`, `secrets`.`created_at_ms`, `secrets`.`expires_at_ms`, `secrets`.`last_used_at_ms` FROM `secrets` WHERE (`secrets`.`client_id` IN ('of-the-last-version')) ORDER BY `secrets`.`created_at_ms`, `secrets`.`secret_id`;
SELECT `clients`.`client_id`, `clients`.`enabled` FROM `clients` WHERE (`clients`.`client_id` IN ('of-the-last-version'));
SELECT `not_before`.`client_id`, `not_before`.`not_before_ms` FROM `not_before` WHERE (`not_before`.`client_id` IN ('of-the-last-version'));
BEGIN IMMEDIATE;
INSERT INTO `clients` (`client_id`, `name`, `enabled`, `scope`, `default_scope`, `audiences`, `serves`, `auth_methods`, `ttl_seconds`, `alg`, `created_at_ms`, `updated_at_ms`) VALUES ('short-lived', 'n', 1, '', NULL, '', '', '', NULL, NULL, 1, 1);
DELETE FROM `secrets` WHERE (`secrets`.`client_id` = 'short-lived');
DELETE FROM `clients` WHERE (`clients`.`client_id` = 'short-lived');
COMMIT;
INSERT INTO `routes` (`id`, `method`, `host`, `path`, `scope`, `audience`, `created_at_ms`) VALUES ('of-last-version', 'GET', NULL, '/old/{id}', 'orders:read', NULL, 1);

-- Tokens are recorded, redeemed and revoked, and the change log is written.
BEGIN IMMEDIATE;
INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time) VALUES ('01a20ada-2c00-7000-8000-000000000001', 'of-the-last-version', 'orders:read', 'https://orders.example', 1795478400, 4102444800, 0), ('01a20ada-2c00-7000-8000-000000000002', 'of-the-last-version', 'orders:read', 'https://orders.example', 1795478400, 4102444800, 1) ON CONFLICT (jti) DO NOTHING;
INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time) VALUES ('01a20ada-2c00-7000-8000-000000000001', 'of-the-last-version', 'orders:read', 'https://orders.example', 1795478400, 4102444800, 0) ON CONFLICT (jti) DO NOTHING;
COMMIT;
SELECT `tokens`.`expires_at` FROM `tokens` WHERE (`tokens`.`jti` = '01a20ada-2c00-7000-8000-000000000001') LIMIT 1;
SELECT COUNT(*) FROM `tokens`;
BEGIN IMMEDIATE;
INSERT INTO `redemptions` (`jti`, `expires_at`, `redeemed_at_ms`) VALUES ('01a20ada-2c00-7000-8000-000000000002', 4102444800, 1795516842878) ON CONFLICT DO NOTHING;
INSERT INTO `revocations` (`jti`, `expires_at`, `revoked_at_ms`) VALUES ('01a20ada-2c00-7000-8000-000000000001', 4102444800, 1795516824660) ON CONFLICT DO NOTHING;
INSERT INTO `changes` (`kind`, `subject`, `at_ms`) VALUES ('spent', '01a20ada-2c00-7000-8000-000000000001 4102444800', 1795516824660);
INSERT INTO `not_before` (`client_id`, `not_before_ms`) VALUES ('of-the-last-version', 2) ON CONFLICT DO NOTHING;
UPDATE `not_before` SET `not_before_ms` = 3 WHERE ((`not_before`.`client_id` = 'of-the-last-version') AND (`not_before`.`not_before_ms` < 3));
COMMIT;
SELECT `changes`.`seq`, `changes`.`kind`, `changes`.`subject` FROM `changes` WHERE (`changes`.`seq` > 0) ORDER BY `changes`.`seq` LIMIT 100;

-- Shutdown.
PRAGMA wal_checkpoint(TRUNCATE);
