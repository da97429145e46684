"""Time zones by names that are none here. Begin with ``names.py``.

``windows`` has the names of Windows; ``in_lines`` finds a zone in a line of a schedule.
"""
