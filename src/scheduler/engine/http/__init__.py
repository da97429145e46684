"""Sends one request and reads its answer, whatever the receiver does. Begin with ``sender.py``.

``egress`` decides which addresses may be connected to, ``resolver`` looks up names, ``exchange`` is one request on one
connection, ``header_block`` reads what its parser refuses, ``answer`` turns an answer into an outcome, ``failure``
turns an exception into one, ``tls`` has authorities and certificates of webhooks, ``tunnel``
connects through a proxy.
"""
