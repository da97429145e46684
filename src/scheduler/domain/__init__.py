"""The domain: frozen records, and pure decisions over them that take the time as an argument.

Imports nothing of ours but itself, and no driver, socket or file. Begin with ``jobs/job.py``, then ``runs/firing.py``
(which executions a due job is turned into) and ``runs/execution.py`` (how an attempt ends and what follows).

``schedule``   the schedule language: a library of its own
``jobs``       jobs, their changes and versions, their retry policies
``runs``       firing, catching up, the states of an execution, explanations
``webhooks``   where a run is delivered, and the request that is sent
``accounts``   accounts and their members, API keys, the audit
``events``     events of one process and their listeners
``slots``      which executions start in the free slots of the worker pool; ``rate_limiter`` how often
``turns``      whose turn it is at work of which only little can be done at a time
``clock``      instants; ``errors`` the exception for callers; ``characters`` which cannot be sent or shown;
``statuses``   status codes of HTTP and their classes
"""
