"""The way to PostgreSQL: connections, turns, calls and what the database announces."""
