"""What a certificate may do, and when."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

CHAIN_LENGTH = 8


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate, at: float, below: int) -> bool:
    """Whether `issuer` may and did issue a certificate that has `below` authorities under it."""
    if not is_authority(issuer) or not is_valid_at(issuer, at):
        return False
    length = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if length is not None and below > length:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False


def may_sign_code(certificate: x509.Certificate) -> bool:
    """Whether its use is code signing, or not limited."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in usages


def is_valid_at(certificate: x509.Certificate, at: float) -> bool:
    """Whether a time (Unix seconds) is within its validity."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc
