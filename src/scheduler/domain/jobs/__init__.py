"""Jobs. Begin with ``job.py``.

``timing`` computes when a job is due, ``changes`` creates and changes jobs, ``version`` is what a job was at a past
time, ``retry`` the policy for failed attempts, ``auto_disable`` and ``disabled_by`` when and why the service disables a
job or a webhook, ``forecast`` what will run.
"""
