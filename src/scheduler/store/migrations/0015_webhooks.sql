-- 1: names in url, query_params and header values are replaced. 0: stored by 1.0.0, which sent them as they are.
ALTER TABLE webhooks ADD COLUMN replaces_names SMALLINT NOT NULL DEFAULT 0 CHECK (replaces_names IN (0, 1));
