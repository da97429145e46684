-- Which answers are a success: JSON, or NULL for any status from 200 to 299.
ALTER TABLE webhooks ADD COLUMN success TEXT;
ALTER TABLE webhooks ADD COLUMN follow_redirects SMALLINT NOT NULL DEFAULT 0 CHECK (follow_redirects BETWEEN 0 AND 5);
-- Authorities, certificate and key of connections: JSON, sealed.
ALTER TABLE webhooks ADD COLUMN tls TEXT;
