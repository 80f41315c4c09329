"""The process: settings, composition, background loops, metrics, clock, memory."""
