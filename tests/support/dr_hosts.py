"""Hosts of the runs with two sites, and the lease of their active one."""

from __future__ import annotations

HOSTS = {"client": 10, "a": 31, "b": 32, "w": 51}
LEASE = 4.0
