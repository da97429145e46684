"""Who asks, and what they may do. Begin with ``access.py``, which every handler uses.

``authenticator`` checks tokens with ``verification_keys`` or those of ``jwks``, ``key_cache`` remembers API keys,
``client_address`` finds the client behind proxies.
"""
