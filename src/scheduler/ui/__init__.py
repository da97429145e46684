"""The pages: static files of the API documentation for now. Served by ``api/http/docs.py``."""
