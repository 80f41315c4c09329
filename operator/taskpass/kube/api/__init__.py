"""Calls to the API server: connections, retries, priorities, errors."""
