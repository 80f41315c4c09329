"""What is decided, as pure functions over values."""
