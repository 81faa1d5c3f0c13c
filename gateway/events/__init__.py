"""Live events: a tenant's changes as server-sent events."""
