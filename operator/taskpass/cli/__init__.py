"""The command `taskpass`."""
