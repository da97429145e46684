"""Accounts over HTTP.

``accounts``, their ``members``, ``invitations`` to be one, and API ``keys`` have one module of handlers each.
"""
