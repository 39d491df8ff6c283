"""Parsers of package databases, manifests, lock files and binaries.

Each takes the bytes of one file (and its path) and returns what it lists. They never raise anything but
`ParseError` on bad input, and are bounded by the size of their input.
"""
