"""One file for each issuer of credentials."""
