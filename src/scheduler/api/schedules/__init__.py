"""Schedules over HTTP: previews of a schedule, and the runs of the next hours."""
