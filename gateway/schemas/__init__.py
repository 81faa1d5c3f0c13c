"""The shapes of requests and responses: what a field is and how large it may be. The rules live in the database."""
