"""The schedule language: parses schedules and computes their fire times, exactly in every time zone.

Of ours it imports ``clock`` and ``errors`` only. Begin with ``text.py``, which parses a schedule, and ``schedule.py``,
which computes its fire times. ``cron``, ``fields`` and ``days`` parse a cron line; ``lines`` has the three kinds of
line, ``zones`` the time zones, ``zone_data`` the files that they come from; ``distinct`` counts the fire times of
several lines, ``masks`` are sets of small numbers. ``words`` describes a schedule in English,
``foreign`` advises on what is no schedule.
"""
