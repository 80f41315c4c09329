"""A witness of logs (C2SP tlog-witness): its state, its HTTP side, and its client."""
