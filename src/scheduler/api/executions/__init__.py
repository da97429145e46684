"""Executions over HTTP: ``handlers`` for single ones, ``runs`` for those of a job, and ``dead_letters``."""
