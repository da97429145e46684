-- While a signing secret is rotated, those before it sign as well: JSON of [secret, until when], newest first; sealed.
ALTER TABLE webhooks ADD COLUMN former_secrets TEXT;

-- A known text, sealed like the secrets, tells at the start whether the key at hand is theirs.
CREATE TABLE key_check (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  sealed TEXT NOT NULL
);
