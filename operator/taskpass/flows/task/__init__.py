"""What happens to one task: observed, attested, issued to, delivered to, revoked, reported."""
