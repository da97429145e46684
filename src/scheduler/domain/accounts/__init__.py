"""Accounts, their members, the API keys of machines, and the audit of what they did. Begin with ``account.py``."""
