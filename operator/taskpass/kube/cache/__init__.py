"""What is watched, cut to what decisions need, converted, and indexed."""
