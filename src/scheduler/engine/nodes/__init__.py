"""This process among others on one Postgres database. Begin with ``membership.py``, its lease.

``peers`` are the notices that nodes send each other.
"""
