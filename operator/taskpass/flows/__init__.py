"""What happens, in order, through ports."""
