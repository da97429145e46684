"""How much of the service one caller may use at a time.

``rate_limit`` limits requests a minute, ``offload`` does long computations in a thread, by the turns of
``domain/turns.py``.
"""
