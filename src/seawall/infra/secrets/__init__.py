"""The master key, the keys that instances share, and what is sealed with them."""
