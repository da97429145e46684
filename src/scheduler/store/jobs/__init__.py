"""``jobs`` on disk, with the ``history`` of their versions, and their ``webhooks``. Begin with ``jobs.py``.

``job_rows`` reads jobs from rows.
"""
