"""Routes that take more than one SQL call, or do what the database must not see."""
