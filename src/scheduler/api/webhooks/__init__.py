"""Webhooks over HTTP. Begin with ``handlers``; ``forms`` makes webhooks of checked bodies."""
