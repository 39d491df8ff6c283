"""The authority of the balancer's certificate, for clients that must trust it (`ca_download`).

A file, or a folder in which any `*.crt` counts; read at each request, for it may come, change or go at any
time, as in Harbor.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from seawall.infra.settings import Settings
from seawall.kernel.errors import NotFoundError


def ca_place(settings: Settings) -> Path:
    """The file or folder: `ca_download`, or the folder of that name below the data directory."""
    return settings.ca_download or settings.data_dir / "ca_download"


def read_ca(settings: Settings) -> bytes:
    """The certificates in PEM, and nothing else that the files hold. Raises NotFoundError with the reason."""
    place = ca_place(settings)
    try:
        files = sorted(place.glob("*.crt")) if place.is_dir() else [place]
        found = [certificate for file in files for certificate in _certificates(file.read_bytes())]
    except OSError as error:
        raise NotFoundError(f"this registry offers no CA certificate: {error.strerror}") from None
    if not found:
        raise NotFoundError("this registry offers no CA certificate: there is none at ca_download")
    pems = dict.fromkeys(certificate.public_bytes(Encoding.PEM) for certificate in found)
    return b"".join(pems)


def has_ca(settings: Settings) -> bool:
    """Whether `read_ca` has something to give."""
    try:
        return bool(read_ca(settings))
    except NotFoundError:
        return False


def ca_digest(settings: Settings) -> str:
    """SHA-256 of `read_ca`, shortened, to compare instances by; "" where there is none."""
    try:
        return hashlib.sha256(read_ca(settings)).hexdigest()[:16]
    except NotFoundError:
        return ""


def _certificates(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" not in data:
        try:
            return [x509.load_der_x509_certificate(data)]
        except ValueError:
            return []
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        return []
