"""What people write that is no schedule here, and what to write instead. Begin with ``advice.py``.

``hint`` is what a recogniser says. ``formats`` has one for each format of other schedulers, ``zones`` one for names of
zones, ``slips`` those for slips of the pen; ``names`` reads names of days and months, ``durations`` durations in words,
``typography`` the characters of word processors. A recogniser only proposes: what it proposes is parsed before anybody
sees it.
"""
