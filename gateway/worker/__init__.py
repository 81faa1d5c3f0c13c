"""The background worker: jobs and maintenance."""
