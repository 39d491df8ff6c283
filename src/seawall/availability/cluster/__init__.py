"""High availability: what makes several instances one registry."""
