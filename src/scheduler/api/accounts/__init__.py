"""Over HTTP: ``accounts``, their ``members`` and their API ``keys``; one module of handlers each."""
