"""Runs: what became of each due time. Begin with ``firing.py``, then ``execution.py``, the state machine of an attempt.

``catchup`` accounts for due times that were missed, ``explanation`` answers what became of one.
"""
