"""Questions to a verified log: timelines, statistics, whose a token is."""
