"""The order of effects: decisions of `core` carried out through `ports`, each durable in turn.

It imports `core` and `ports`, and never an adapter.
"""
