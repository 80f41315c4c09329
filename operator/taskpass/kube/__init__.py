"""The Kubernetes API as an adapter."""
