"""Executions as people see them: lists, counts, dead letters, and pruning what is old. Begin with ``executions.py``."""
