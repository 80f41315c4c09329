"""Everything that is tried on a real Kubernetes."""
