"""The way to PostgreSQL: connections, queues, calls and notifications."""
