"""PostgreSQL as the database, and the only package that imports ``asyncpg``. Begin with ``database.py``.

``transaction`` translates the parameters of statements, ``notifications`` are LISTEN and NOTIFY between nodes,
``errors`` classifies errors.
"""
