"""What is done to a data directory or a database as a whole, offline.

Imports ``store``, ``config`` and ``domain``.

``data_dir``       the directory with its secrets
``open_database``  the configured database, its schema up to date
``files``          files that appear as a whole or not at all
``start_warnings`` what an operator should know although the process starts
``start_error``    what ends a process that cannot do its work, and the exit codes
``backup``, ``copy``, ``status``, ``rotate_key``: the commands of ``scheduler db`` and ``scheduler secrets``
"""
