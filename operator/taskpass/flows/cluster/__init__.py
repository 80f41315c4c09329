"""What happens to the whole: orphans, class deletion, anchor, witnesses, kill switches; its end."""
