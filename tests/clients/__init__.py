"""Real registry clients against a running registry, over plain HTTP on the loopback."""
