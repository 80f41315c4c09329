"""Decisions, pure: no I/O, no clock, no framework. It imports nothing of ours but `tlog`."""
