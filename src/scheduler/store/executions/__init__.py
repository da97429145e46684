"""Executions for the API. Begin with ``executions.py``: lists and counts.

``reasons`` completes the errors of dead letters; ``dead_letters`` lists, redrives and purges; ``pruning`` deletes what
retention does not keep.
"""
