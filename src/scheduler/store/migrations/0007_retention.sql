-- The newest scheduled time whose run was pruned: what is not on record up to then may well have run.
ALTER TABLE jobs ADD COLUMN pruned_until_at BIGINT;
