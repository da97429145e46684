-- How many accounts a user made is counted, and how many jobs these have.
CREATE INDEX accounts_by_creator ON accounts (created_by);
