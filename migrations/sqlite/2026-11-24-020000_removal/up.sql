-- What has expired is removed from the old end of the primary key for tokens, which costs an insert nothing, and by
-- these for what is rare.
CREATE INDEX revocations_by_expiry ON revocations (expires_at);
CREATE INDEX redemptions_by_expiry ON redemptions (expires_at);
