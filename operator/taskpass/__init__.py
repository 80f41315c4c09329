"""Credentials for one task of an AI agent on Kubernetes, and their end."""

__version__ = "0.1.0"
