"""Proxy cache: projects that stand for an upstream registry."""
