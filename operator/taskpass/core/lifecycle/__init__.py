"""A snapshot of a task goes in, its next step comes out; the record of it is here as well.

It imports `core.model`, `core.policy` and `core.rate_limit`.
"""
