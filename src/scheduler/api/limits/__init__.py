"""How much of the service one caller may use at a time.

``rate_limit`` limits requests a minute, ``turns`` has users take turns at work of which only little can be done at a
time, ``offload`` does long computations by such turns in a thread.
"""
