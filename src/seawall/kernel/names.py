"""Grammar of repository names, tags and digests.

Source: OCI Distribution 1.1 "Pulling manifests" (name and reference), OCI Image 1.1 "Digests".
"""

from __future__ import annotations

import hashlib
import re

from seawall.kernel.errors import InvalidError, RegistryError

# The spec's <name>; at most 255 characters so that every client can prefix a host name.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_PROJECT = re.compile(_COMPONENT)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
# Nearly all of them.
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_LOWER_HEX = re.compile(r"[0-9a-f]+")
NAME_LIMIT = 255


def check_name(name: str) -> str:
    """Return `name` if it is `project/repository`. Raises RegistryError NAME_INVALID."""
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise RegistryError("NAME_INVALID", detail={"name": name[:NAME_LIMIT]})
    if "/" not in name:
        raise RegistryError("NAME_INVALID", "repository names have the form project/repository")
    return name


def is_project_name(name: str) -> bool:
    """Whether `name` can name a project: one path component, 1 to 255 characters."""
    return len(name) <= NAME_LIMIT and _PROJECT.fullmatch(name) is not None


def check_project_name(name: str) -> str:
    """Return `name` if it can name a project. Raises InvalidError."""
    if not is_project_name(name):
        raise InvalidError(
            f"project {name[:64]!r}: names have lower-case letters, digits and single . _ - between them"
        )
    return name


def is_tag(reference: str) -> bool:
    """Whether `reference` is a tag by the spec's grammar."""
    return _TAG.fullmatch(reference) is not None


def check_digest(digest: str) -> str:
    """Return `digest` if it is well formed and of an algorithm we verify (sha256, sha512).

    Raises RegistryError DIGEST_INVALID.
    """
    if _SHA256.fullmatch(digest):
        return digest
    algorithm, separator, value = digest.partition(":")
    if not separator or len(digest) > 140 or not _DIGEST.fullmatch(digest):
        raise RegistryError("DIGEST_INVALID", "malformed digest")
    length = _HEX_LENGTH.get(algorithm)
    if length is None:
        raise RegistryError("DIGEST_INVALID", "unsupported digest algorithm; use sha256 or sha512")
    if len(value) != length or not _LOWER_HEX.fullmatch(value):
        raise RegistryError("DIGEST_INVALID", f"a {algorithm} digest has {length} lower-case hex digits")
    return digest


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """`algorithm:hex` of `data`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
