"""The stores: every statement of SQL, one text for SQLite and Postgres.

Imports ``domain`` and ``config``; only ``store/sqlite`` and ``store/postgres`` import drivers. Begin with
``database.py``, what a driver offers, then ``queue/queue.py``, the states of an execution; ``stores.py`` has all
stores.

``queue``       executions for the engine: enqueue, claim, settle, hold
``executions``  executions for the API: lists, dead letters; and pruning
``jobs``        jobs, their history, their webhooks
``accounts``    accounts, members, API keys, quotas, the audit
``rows``        rows as records: columns from fields; ``ids`` makes ids, ``sql`` has shared pieces of statements
``migrate``     the schema, from ``migrations/``; ``copy`` moves everything to another database
``vault``       encryption at rest; ``sealing`` the sealing key and its replacement
"""
