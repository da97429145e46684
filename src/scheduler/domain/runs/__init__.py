"""Runs: what a due time is turned into. Begin with ``firing.py``, then ``execution.py``, the states of an attempt.

``error_code`` has the codes of failures, ``catchup`` decides about due times that were missed, ``explanation`` tells
what happened at a time.
"""
