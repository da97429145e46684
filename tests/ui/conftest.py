"""The pages are part of the same application."""

from tests.api.conftest import api, serve

__all__ = ["api", "serve"]
