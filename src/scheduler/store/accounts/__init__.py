"""Accounts, their members, invitations, API keys, quotas and the audit on disk, and what they keep (``kept_bytes``).

Begin with ``accounts.py``.
"""
