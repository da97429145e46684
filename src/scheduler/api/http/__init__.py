"""What operations share: ``operation`` declares one, ``parser`` and ``decoder`` read requests, ``answers`` writes.

``fields`` and ``queries`` are the types of bodies and query parameters, ``errors`` maps codes to statuses,
``middleware`` frames every request, ``rate_limit`` counts them, ``offload`` moves long computations to a thread,
``openapi`` and ``docs`` describe all of it.
"""
