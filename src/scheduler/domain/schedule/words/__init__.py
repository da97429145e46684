"""Words: a schedule in plain English, so that its author can check it. Begin with ``describe.py``.

``times`` has the times of day of a cron line, ``days`` its days, ``clocks`` what a change of the clocks does. Two
schedules with the same words have the same fire times.
"""
