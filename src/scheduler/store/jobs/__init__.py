"""Jobs, the history of their versions, and their webhooks on disk. Begin with ``jobs.py``."""
