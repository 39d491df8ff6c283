"""Harbor's management API v2.0."""
