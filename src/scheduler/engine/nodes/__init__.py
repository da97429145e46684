"""Nodes: the processes that share one Postgres database. Begin with ``membership.py``, the lease of this one.

``peers`` are the notices that nodes send each other.
"""
