"""SQLite as the database, and the only package that imports ``sqlite3`` and ``aiosqlite``. Begin with ``database.py``.

``writer`` commits transactions in groups, ``thread`` runs statements on the thread of a connection, ``file`` reads and
copies a file that a service may be using, ``errors`` classifies errors, ``network_fs`` recognises file systems on which
SQLite loses data.
"""
