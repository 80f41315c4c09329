"""The durable store: grants and the signed log in one transaction."""
