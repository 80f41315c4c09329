"""How much a tenant may write of what all share, and whose turn it is."""
