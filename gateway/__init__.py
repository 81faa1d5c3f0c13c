"""cardbase: a multi-tenant store for cards whose rules live in the database."""

__version__ = "0.1.0"
