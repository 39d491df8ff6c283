"""Whether a certificate and a key can be served with."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


class CertificateError(Exception):
    """Why not; `part` is `certificate` or `private_key`."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


def check_pair(certificate: Path, private_key: Path) -> x509.Certificate:
    """The certificate, when both files are there and belong together. Raises CertificateError."""
    chain, key = _certificates(certificate), _key(private_key)
    if chain[0].public_key() != key.public_key():
        others = any(item.public_key() == key.public_key() for item in chain)
        hint = " (it comes first in the file, before its authorities)" if others else ""
        raise CertificateError("private_key", f"is not the key of {certificate}{hint}")
    return chain[0]


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError("certificate", f"{path}: {error.strerror}") from None
    except ValueError:
        raise CertificateError("certificate", f"{path}: is not a PEM certificate") from None


def _key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise CertificateError("private_key", f"{path}: {error.strerror}") from None
    except TypeError:
        raise CertificateError("private_key", f"{path}: has a password; give it without") from None
    except ValueError:
        raise CertificateError("private_key", f"{path}: is not a PEM private key") from None


def validity(certificate: x509.Certificate) -> str | None:
    """None, or why the certificate is not valid today."""
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_before_utc > now:
        return f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only"
    if certificate.not_valid_after_utc < now:
        return f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return None


def names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that the certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *found.get_values_for_type(x509.DNSName),
        *(str(item) for item in found.get_values_for_type(x509.IPAddress)),
    ]


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether the certificate is for `host`: a name or an address (RFC 6125: a wildcard is one label)."""
    host = host.strip("[]").lower()
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    parent = f"*.{host.partition('.')[2]}"
    return any(name.lower() in (host, parent) for name in names(certificate))
