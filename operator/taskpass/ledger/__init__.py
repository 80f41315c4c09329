"""The ledger on disk: what is held, what is remembered, and the audit log over both.

It imports `ports`, `core` and `tlog`.
"""
