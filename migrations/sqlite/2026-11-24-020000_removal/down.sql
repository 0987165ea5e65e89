DROP INDEX redemptions_by_expiry;
DROP INDEX revocations_by_expiry;
