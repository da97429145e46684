"""This process among others on one Postgres database: its lease, and what the nodes tell each other."""
