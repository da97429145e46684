"""Jobs over HTTP: list, read, change, pause, delete. ``api/job_creation.py`` creates them."""
