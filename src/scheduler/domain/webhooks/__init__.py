"""Webhooks: where a run is delivered. Begin with ``webhook.py``, then ``request.py``, the request that is sent.

``url`` checks URLs and classifies addresses, ``egress_rule`` parses ``egress.allow``, ``template`` replaces names in
bodies, URLs and headers, ``contexts`` encodes their values, ``signing`` signs by Standard Webhooks, ``redirect`` has
the request that a redirect leads to, ``success`` decides about answers, ``claim`` has all that a delivery needs,
``redaction`` masks credentials in responses, ``masked`` refuses to send masked credentials to another server.
"""
