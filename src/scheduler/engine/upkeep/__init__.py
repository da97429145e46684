"""Periodic tasks beside firing and delivering. Begin with ``rescue.py``: attempts that a crash or a lost lease left
open.

``housekeeping`` is for the database, ``replanner`` follows the time zone data, ``pruner`` deletes executions that
retention does not keep, ``sweeper`` what deleted jobs and accounts had; ``kept_bytes`` is the
budget of each account, ``clock_watch`` looks for a clock that was set back.
"""
