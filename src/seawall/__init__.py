"""Seawall: a highly available OCI artifact registry."""

from importlib.metadata import version

__version__ = version("seawall")
