"""Typed events, canonical bytes, redaction, pseudonyms, and what a history of events comes to.

It imports the rest of `core`, and `tlog`.
"""
