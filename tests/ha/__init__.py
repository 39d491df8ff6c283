"""High availability: several instances are one registry."""
