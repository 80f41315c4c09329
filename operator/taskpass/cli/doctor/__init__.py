"""`taskpass doctor`: what of the cluster is not as taskpass needs it."""
