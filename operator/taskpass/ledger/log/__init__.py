"""The log's tables: entries and their index, keys, pseudonyms; written by one, read by many."""
