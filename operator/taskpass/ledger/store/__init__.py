"""The file: opened, recovered, locked, written by one thread, one transaction at a time."""
