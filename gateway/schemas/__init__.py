"""The shapes of requests and answers: what a field is and how large it may be. The rules live in the database."""
