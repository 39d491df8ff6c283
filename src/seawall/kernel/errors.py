"""Errors the domain raises; each transport renders them in its own format.

`RegistryError` carries a code of the OCI Distribution spec (section "Error Codes") and nothing else;
the Harbor API and the CLI turn the same errors into their envelope or one line.
"""

from __future__ import annotations

from typing import Any

# code -> (HTTP status, default message). Source: OCI Distribution 1.1 "Error Codes"; the last three are for
# what the spec leaves without a code.
OCI_CODES: dict[str, tuple[int, str]] = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (400, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (400, "manifest references a manifest or blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown to registry"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "UNAUTHORIZED": (401, "authentication required"),
    "DENIED": (403, "requested access to the resource is denied"),
    "UNSUPPORTED": (405, "the operation is unsupported"),
    "TOOMANYREQUESTS": (429, "too many requests"),
    "CONFLICT": (409, "conflicts with what another request did meanwhile"),
    "UNAVAILABLE": (503, "service unavailable"),
    "UNKNOWN": (500, "internal error"),
}


class SeawallError(Exception):
    """Base of every error that is the caller's or operator's to correct; its text is one plain line."""


class ConfigError(SeawallError):
    """Settings are wrong; the message names source and key."""


class RegistryError(SeawallError):
    """An error with an OCI code.

    `status` overrides the code's usual HTTP status; `headers` go onto the response.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        detail: Any = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        default_status, default_message = OCI_CODES[code]
        self.code = code
        self.message = message or default_message
        self.detail = detail
        self.status = status or default_status
        self.headers = headers or {}
        super().__init__(self.message)


class NotFoundError(SeawallError):
    """The named thing does not exist."""


class ConflictError(SeawallError):
    """The named thing exists already, or is in use."""


class InvalidError(SeawallError):
    """A value is not acceptable; the message says why."""


class ForbiddenError(SeawallError):
    """The caller is known and may not do this."""


class PreconditionError(SeawallError):
    """The thing is in a state in which this cannot be done; the message says why."""


class UnavailableError(SeawallError):
    """A service behind this one (database, storage) does not answer now; trying again later may help."""


class WritesRefusedError(UnavailableError):
    """Storage can be read but takes no writes now; the message says why."""


class StorageFullError(WritesRefusedError):
    """Storage has no space left, or its quota is used up."""


class StandbyError(UnavailableError):
    """This site is not the active one, so it takes no writes; the message says where they go.

    `lasting` False: it is the active one, and waits for its lease.
    """

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        self.lasting = lasting
        super().__init__(message)
