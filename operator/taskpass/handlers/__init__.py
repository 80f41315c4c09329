"""What kopf calls; it only enqueues."""
