"""Authentication and access control. Begin with ``access.py``, which every handler uses.

``authenticator`` verifies tokens with the keys of ``verification_keys`` or ``jwks``, ``key_cache`` caches API keys,
``client_address`` finds the address of a client behind proxies.
"""
