"""The HTTP interface. Read ``app.py`` first; a handler parses with a schema, calls one or two functions, serialises."""
