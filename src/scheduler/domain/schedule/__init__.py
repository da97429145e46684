"""The schedule language: text to fire times, exact in every time zone. Imports only ``clock`` and ``errors`` of ours.

Begin with ``schedule.py``, the public face. ``text`` reads the lines, ``cron``, ``fields`` and ``days`` one cron line,
``lines`` has the three kinds of line, ``zones`` the wall clocks, ``distinct`` counts a union, ``describe`` writes
English.
"""
