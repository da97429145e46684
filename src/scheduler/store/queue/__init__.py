"""The engine's side of executions: enqueue, claim, settle, rescue. Begin with ``queue.py``.

``claiming`` chooses what starts next, ``claims`` reads what a delivery needs, ``holds`` keeps executions back,
``auto_disable`` disables what keeps failing, ``nodes`` are the processes of one database, ``stats`` how much waits.
"""
