-- From where this database was copied. As long as a copy is not finished, nobody may work on it.
CREATE TABLE copies (
  source TEXT PRIMARY KEY,
  started_at BIGINT NOT NULL,
  finished_at BIGINT
);
