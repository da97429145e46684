"""Everything that is kept, and every statement of SQL: one text for SQLite and Postgres.

Imports ``domain`` and ``config``; only ``store/sqlite`` and ``store/postgres`` import drivers. Begin with
``database.py``, what a driver offers, then ``queue/queue.py``, the way of an execution; ``stores.py`` has all stores.

``queue``       the engine's side of executions: enqueue, claim, settle, hold
``executions``  people's side of them: lists, dead letters, pruning
``jobs``        jobs, their history, their webhooks
``accounts``    accounts, members, API keys, quotas, the audit
``rows``        rows as records: columns from fields; ``ids`` makes ids, ``sql`` has shared pieces of statements
``migrate``     the schema, from ``migrations/``; ``copy`` moves everything to another database
``vault``       encryption at rest; ``sealing`` the sealing key and its replacement
"""
