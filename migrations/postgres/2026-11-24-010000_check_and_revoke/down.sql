DROP TABLE routes;
DROP TABLE not_before;
DROP TABLE redemptions;
DROP TABLE revocations;
