"""scheduler: webhooks on schedule, and what became of each.

The way of one execution, top to bottom::

    api      a request becomes records                 jobs.py -> store.jobs.insert -> trigger_loop.wake
    engine   a due job becomes executions              trigger_loop.py -> domain.firing.fire
             an execution becomes a request            worker_pool.py -> delivery.py -> sender.py
             its outcome becomes a row, perhaps two    domain.execution.settle -> recorder.py
    store    every statement of SQL                    queue.py (engine's side), executions.py (people's side)
    domain   what the words mean; pure                 schedule.py, firing.py, execution.py, retry.py
    service  builds all of it, once; app runs it as a process
    cli      ``scheduler serve`` and the rest

Beside the way: ``engine/membership.py`` (this process among others), ``engine/maintenance.py`` (what a crash left),
``engine/pruner.py`` (what is too old), ``backup.py`` and ``moving.py`` (the database as a whole).

Each layer imports only those below it: cli > app > service > api | ui > engine > store | telemetry > config > domain.
"""

__version__ = "1.0.0"
