"""What is done to a data directory or a database as a whole, offline.

Imports ``store``, ``config`` and ``domain``.

``data_dir``       the directory with its secrets; ``files`` publishes a file whole or not at all
``open_database``  the configured database, its schema up to date
``backup``, ``copy``, ``status``, ``rotate_key``: the commands of ``scheduler db`` and ``scheduler secrets``
"""
