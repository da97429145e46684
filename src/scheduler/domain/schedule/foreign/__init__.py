"""Advice on texts that are no schedule: what they are, and what to write instead. Begin with ``advice.py``.

``hint`` is the result of a recogniser. ``formats`` has one for each format of other schedulers, ``zones`` one for names
of zones, ``slips`` those for near misses; ``names`` reads names of days and months, ``durations`` durations in words,
``typography`` the characters of word processors. What a recogniser proposes is parsed, and shown only if it is a
schedule.
"""
