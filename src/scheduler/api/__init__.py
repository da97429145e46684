"""The HTTP API. Imports ``engine``, ``store``, ``config`` and ``domain``. Begin with ``app.py``: routes and layers.

One folder a noun (``jobs``, ``webhooks``, ``executions``, ``accounts``, ``schedules``, ``audit``, ``health``), each
with its ``handlers``, its ``schemas`` (what requests say and what answers show), its ``documents`` (records as JSON)
and, for webhooks, its ``forms`` (checked requests as records).
Nouns do not import each other; ``job_creation`` is where a job and its first webhook are made together.

``http``      what all of them share: reading requests, writing answers, the OpenAPI document
``auth``      who asks, and what they may do
``services``  what a handler may call
"""
