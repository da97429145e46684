"""Sending one request and reading its answer, safely against any receiver. Begin with ``sender.py``.

``egress`` says which addresses may be reached, ``resolver`` looks names up, ``exchange`` is one request on one
connection, ``answer`` turns an answer into an outcome, ``failure`` turns an exception into one.
"""
