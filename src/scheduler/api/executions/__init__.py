"""Executions over HTTP: ``handlers`` for one by one, ``runs`` for those of a job, ``dead_letters`` for what gave up."""
