"""The engine: due jobs become executions, executions become requests, outcomes become rows.

Imports ``ops``, ``store``, ``config`` and ``domain``. Begin with ``delivery.py``, the life of one attempt.

``trigger_loop``  when to look for due jobs
``firing``        the transactions that turn jobs into executions
``worker_pool``   a bounded number of deliveries in flight: claims what there are slots for
``delivery``      one attempt, from its claim to its settlement
``recorder``      writes settlements, in groups
``lifecycle``     starts and stops all of it
``http``          sends one request and reads the answer
``nodes``         the processes that share one database
``upkeep``        rescue after a crash, housekeeping, pruning
"""
