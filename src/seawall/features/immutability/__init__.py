"""Immutable tags: rules that keep a tag from being overwritten or deleted."""
