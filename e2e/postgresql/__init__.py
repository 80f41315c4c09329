"""A PostgreSQL server of one's own: for the provider's tests, the benchmark and the demo."""
