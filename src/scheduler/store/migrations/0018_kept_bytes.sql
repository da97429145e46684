-- How many bytes the rows of an account hold, and how many of them are bodies of answers. Added to every few seconds,
-- never for a single attempt; from time to time counted anew from the rows, by which any error ends.
ALTER TABLE accounts ADD COLUMN kept_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN kept_body_bytes BIGINT NOT NULL DEFAULT 0;
-- When they were last counted from the rows; 0: never.
ALTER TABLE accounts ADD COLUMN kept_counted_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX accounts_counted ON accounts (kept_counted_at);
