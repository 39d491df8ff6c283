"""What another registry says: its manifests, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from seawall.kernel.errors import SeawallError


class RemoteError(SeawallError):
    """The other registry refused, failed or cannot be reached; `status` is its HTTP status or 0."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as the other registry has it."""

    digest: str
    media_type: str
    payload: bytes


def reason(error: BaseException) -> str:
    """One line on why a request failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first or type(error).__name__


def refused(method: str, url: str, response: httpx.Response) -> RemoteError:
    """The error of an answer that is not one of those wanted; query and login of the URL are left out."""
    code = message = ""
    try:
        first = response.json()["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except Exception:
        message = response.reason_phrase
    where = urlsplit(url)
    shown = f"{where.scheme}://{where.hostname}{f':{where.port}' if where.port else ''}{where.path}"
    text = f"{method} {shown}: {response.status_code} {code} {message}"
    return RemoteError(" ".join(text.split())[:1000], response.status_code, code)
