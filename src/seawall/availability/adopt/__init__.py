"""Adoption of a Harbor in place: its database is read, its storage stays where it is."""
