"""Accounts, their members, invitations, API keys, quotas and the audit on disk. Begin with ``accounts.py``."""
