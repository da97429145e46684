"""A scheduler of webhooks, with a record of each delivery.

The layers. Each imports only those below it; a contract in ``pyproject.toml`` keeps it so::

    cli                  the commands, one module each; begin with cli/serve.py
    app                  the process: listener, signals, exit code
    service              builds every object once
    health | demo        the health report; the receiver and the jobs of --demo
    ui | api             the pages; HTTP, begin with the routes in api/app.py
    engine               firing, claiming, sending, recording; begin with engine/delivery.py
    ops                  operations on a data directory or a database as a whole
    store | telemetry | logs    every statement of SQL; metrics; writing log lines
    config               the settings
    domain               records, and pure decisions over them that take the time as an argument

The way of one execution::

    create     api/job_creation.py     a request becomes a job and its first webhook
               domain/jobs/changes.py  decides when it is due for the first time
               store/jobs/jobs.py      one transaction: jobs, webhooks, history, audit
    fire       engine/trigger_loop.py  looks when a job may be due
               engine/firing.py        one transaction for a batch: executions queued, next_run_at advanced
               domain/runs/firing.py   decides which executions a due job becomes
    claim      engine/worker_pool.py   as many as there are free slots
               store/queue/claiming.py one transaction for a batch: queued -> running, before the first byte leaves
    deliver    engine/delivery.py      one attempt
               domain/webhooks/request.py  the request, as a function of the claim
               engine/http/sender.py   sends it and reads the answer
    settle     domain/runs/execution.py    decides: success, another attempt, or the dead letter
               engine/recorder.py      gathers settlements
               store/queue/queue.py    one transaction for a group: running -> its final status, the next attempt queued

After its commit each step tells the other parts what happened, by the events of ``domain/events.py``: ``JobPlanned``
after create, ``Fired`` after fire, ``AttemptsSettled`` after settle. So the trigger loop looks in time, the worker pool
claims without delay, and ``telemetry`` counts and logs.

When a database does not answer: ``store/postgres/errors.py`` and ``store/sqlite/errors.py`` classify the error, the API
answers 503, each loop of the engine logs it and tries again, and ``health.py`` reports it.

Beside the way: ``engine/lifecycle.py`` (start and stop), ``engine/upkeep/rescue.py`` (attempts that a crash left),
``engine/upkeep/pruner.py`` (executions that are too old), ``engine/nodes/membership.py`` (one process among others).
"""

__version__ = "1.0.0"
