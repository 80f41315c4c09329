"""What is done to a ledger beside its work: pruned, erased from, copied, given another key."""
