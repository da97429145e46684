"""Accounts over HTTP: ``accounts``, their ``members`` and their API ``keys`` have one module of handlers each."""
