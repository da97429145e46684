"""``account``: accounts and their members; ``api_key``: how machines authenticate; ``audit``: who did what;
``kept_bytes``: what an account keeps of its budget.
"""
