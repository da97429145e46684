"""Webhooks over HTTP: make, list, read, change, delete, rotate the signing secret."""
