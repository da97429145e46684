"""Runs: what became of each due time. Begin with ``firing.py``, then ``execution.py``, the state machine of an attempt.

``error_code`` says why an attempt failed, ``catchup`` accounts for due times that were missed, ``explanation`` answers
what became of one.
"""
