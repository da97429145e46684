"""Sends one request and reads its answer, whatever the receiver does. Begin with ``sender.py``.

``egress`` decides which addresses may be connected to, ``resolver`` looks up names, ``connector`` opens connections,
``exchange`` is one request on one of them, ``wire`` the bytes of a request, ``header_block`` reads what the parser
refuses, ``answer`` turns an answer into an outcome, ``failure`` turns an exception into one, ``tls`` has authorities
and certificates of webhooks, ``tunnel`` connects through a proxy.
"""
