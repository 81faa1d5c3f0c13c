"""What is kept in memory or Redis: rate limits and the cache."""
