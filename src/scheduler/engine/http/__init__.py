"""Sends one request and reads its answer, within limits of time and size. Begin with ``sender.py``.

``wire`` writes the bytes of a request. ``connector`` opens connections: ``resolver`` looks up names, ``egress`` decides
which addresses may be connected to, ``tls`` has authorities and certificates of webhooks, ``tunnel`` connects through a
proxy. ``exchange`` is one request and its answer on one connection, ``header_block`` reads what its parser refuses.
``answer`` turns an answer into an outcome, ``failure`` turns an exception into one.
"""
