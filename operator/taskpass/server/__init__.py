"""What the operator answers over HTTPS: probes, metrics, the audit log."""
