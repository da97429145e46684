"""What the words of the product mean: pure decisions over frozen records, with time as an argument.

Imports nothing of ours but itself, and no driver, socket or file. Begin with ``jobs/job.py``, then ``runs/firing.py``
(what a due job turns into) and ``runs/execution.py`` (what becomes of an attempt).

``schedule``   the schedule language: a library of its own
``jobs``       a job, its changes and versions, its retry policy
``runs``       firing, catching up, the states of an execution, explanations
``webhooks``   where a run is delivered, and the request that is sent
``accounts``   who owns what, API keys, the audit
``events``     how parts tell each other what happened
``slots``      who may have one of the pool's slots; ``rate_limiter`` how often
``clock``      instants; ``errors`` the one exception for callers; ``characters`` what no reader can be given
"""
