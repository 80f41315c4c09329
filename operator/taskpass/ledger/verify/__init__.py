"""Everything computed again from the entries, and every row held against it."""
