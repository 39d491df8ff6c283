"""Digests of what a test pushes."""

from __future__ import annotations

import hashlib


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """`algorithm:hex` of the bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
