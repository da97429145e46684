"""Jobs: what was asked for. Begin with ``job.py``.

``timing`` is when a job runs, ``changes`` what a change does to that, ``version`` what held at a past time, ``retry``
the policy for failures, ``auto_disable`` and ``disabled_by`` when the service
stops trying, ``forecast`` what will run.
"""
