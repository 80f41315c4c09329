"""The admission policies, changed one clause at a time, against a table of who may do what."""
