"""How an object of a namespace is named."""

Key = tuple[str, str]
"""Namespace and name."""
