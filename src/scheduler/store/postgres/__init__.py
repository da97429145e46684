"""Postgres as the database, and the only room that imports ``asyncpg``. Begin with ``database.py``.

``transaction`` translates the parameters of statements, ``notifications`` are LISTEN and NOTIFY between nodes,
``errors`` says what an error means.
"""
