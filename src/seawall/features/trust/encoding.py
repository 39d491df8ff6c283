"""Reading JSON, Base64 and certificates from signatures that anybody may have made."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography import x509


def read_json(data: bytes) -> Any:
    """The value of a JSON text, None for anything else."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def get(value: Any, key: str) -> Any:
    """A member of an object, None for anything else."""
    return value.get(key) if isinstance(value, dict) else None


def unbase64(value: Any) -> bytes | None:
    """The bytes of a Base64 text, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def unbase64url(value: Any) -> bytes | None:
    """The bytes of an unpadded base64url text, None for anything else."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return None


def read_der(data: bytes) -> list[x509.Certificate]:
    """The certificate in DER as a chain of one, empty when it is none."""
    try:
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        return []
