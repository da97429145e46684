"""Jobs, their history and their webhooks on disk. Begin with ``jobs.py``, for the API; ``due`` is for the engine.

``job_table`` has the rows of jobs, ``job_filter`` which of them a list shows, ``one_offs`` which of them are removed,
``deletion`` deletes them in slices;
``history`` the versions of a job, ``webhooks`` where its runs are delivered, ``zones`` the rules of the time zones that
jobs are planned by.
"""
