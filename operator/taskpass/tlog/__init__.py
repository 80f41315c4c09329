"""Transparency logs as C2SP and RFC 6962 have them; usable without the rest of taskpass.

It imports nothing of ours.
"""
