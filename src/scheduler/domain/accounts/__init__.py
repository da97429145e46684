"""``account``: accounts and their members; ``api_key``: how machines authenticate; ``audit``: who did what."""
