"""The HTTP API. Imports ``engine``, ``store``, ``config`` and ``domain``. Begin with ``app.py``: routes and layers.

One folder a noun (``jobs``, ``webhooks``, ``executions``, ``accounts``, ``schedules``, ``audit``, ``health``), each
with its ``handlers``, its ``schemas`` (of bodies, query parameters and answers), its ``documents`` (records as JSON)
and, for webhooks and API keys, its ``forms`` (records of checked bodies).
Nouns do not import each other; ``job_creation`` creates jobs together with their first webhooks.

``http``      shared by all of them: parsing requests, serialising answers, the OpenAPI document
``limits``    how much one caller may use at a time: requests a minute, turns at computing
``auth``      authentication of callers, and their access to accounts
``services``  the stores and parts of the engine that handlers call
"""
