"""The cluster behind the ports: API client, caches, writers, the Lease, the guardrails.

It imports `ports` and `core`.
"""
