"""Executions for the engine: enqueue, claim, settle, rescue. Begin with ``queue.py``.

``attempts`` writes what is queued, ``claiming`` chooses what starts next, ``claims`` reads what a delivery needs,
``holds`` holds and releases executions, ``auto_disable`` disables what keeps failing, ``nodes`` are the processes of
one database, ``stats`` has the depth of the queue.
"""
