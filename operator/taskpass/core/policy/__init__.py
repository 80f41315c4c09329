"""What policies say of a request: who it matches, within which limits, what its expressions need.

It imports `core.model`.
"""
