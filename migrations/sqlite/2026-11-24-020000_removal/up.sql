-- Expired tokens are found from the old end of their primary key, which costs an insert nothing.
-- Expired revocations and redemptions are rare, so they are found by these indexes.
CREATE INDEX revocations_by_expiry ON revocations (expires_at);
CREATE INDEX redemptions_by_expiry ON redemptions (expires_at);
