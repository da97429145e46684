"""What all operations share. Begin with ``operation``, which declares one.

``parser`` and ``decoder`` read requests, ``fields`` and ``queries`` are the types of bodies and query parameters,
``answers`` writes answers, ``errors`` maps error codes to statuses, ``middleware`` frames every request, ``openapi``
and ``docs`` are the documentation.
"""
