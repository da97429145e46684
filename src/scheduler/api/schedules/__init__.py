"""Schedules over HTTP: previews of a schedule, and what fires in the next hours."""
