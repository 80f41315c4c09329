"""The tables beside the log: grants, records, bindings, trails, meters."""
