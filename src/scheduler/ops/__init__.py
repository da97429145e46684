"""Operations on a data directory or a database as a whole, without the API.

Imports ``store``, ``config`` and ``domain``.

``data_dir``       the directory with its secrets
``open_database``  the configured database, its schema up to date
``files``          files that appear as a whole or not at all
``start_warnings`` warnings for the operator of a process that starts
``start_error``    the error that ends a process, and the exit codes
``backup``, ``copy``, ``status``, ``rotate_key``: the commands of ``scheduler db`` and ``scheduler secrets``
"""
