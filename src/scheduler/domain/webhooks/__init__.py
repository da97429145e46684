"""Webhooks: where a run is delivered. Begin with ``webhook.py``, then ``request.py``, the request that is sent.

``target`` judges URLs and addresses, ``egress_rule`` reads ``egress.allow``, ``template`` fills bodies, ``signing`` is
Standard Webhooks, ``claim`` is what a delivery needs to know, ``redaction`` keeps credentials out of what is stored of
answers.
"""
