-- What may start but for the share of its account or the limit of its receiver's host waits in a lane (held = 3), out of
-- the way of all others.
ALTER TABLE executions ADD COLUMN lane TEXT;
CREATE INDEX executions_in_lanes ON executions (lane, available_at) WHERE status = 'queued' AND held = 3;
