"""SQLite as the database, and the only room that imports ``sqlite3`` and ``aiosqlite``. Begin with ``database.py``.

``writer`` commits transactions in groups, ``file`` reads and copies a file beside its service, ``errors`` says what an
error means, ``network_fs`` recognises file systems on which SQLite loses data.
"""
