"""Policies' expressions: compiled, priced, and evaluated in a process of their own."""
