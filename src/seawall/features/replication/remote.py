"""What another registry says: its manifests, and its refusals."""

from __future__ import annotations

import datetime
import email.utils
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from seawall.features.replication.origin import SETTLED
from seawall.infra.outgoing import UNWANTED
from seawall.kernel.errors import SeawallError


class RemoteError(SeawallError):
    """The other registry refused, failed or cannot be reached; `status` is its HTTP status or 0."""

    def __init__(
        self,
        message: str,
        status: int = 0,
        code: str = "",
        detail: Any = None,
        retry_after: float = 0.0,
        *,
        content: bool = False,
    ) -> None:
        """`retry_after` in seconds, 0 when it does not say; `content`: it answers, with what is not right."""
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.content = content
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as the other registry has it."""

    digest: str
    media_type: str
    payload: bytes


def is_settled(error: RemoteError) -> bool:
    """Whether a refusal means that nothing is left to do (see `seawall.features.replication.origin`)."""
    return error.status == 412 and error.detail == SETTLED


# What `reason` says of a request that took too long.
NO_ANSWER = "no answer in time"


def reason(error: BaseException) -> str:
    """One line on why a request failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    # Those of the client's own errors that say nothing.
    if not first and isinstance(error, TimeoutError | httpx.TimeoutException):
        return NO_ANSWER
    if not first and isinstance(error, httpx.NetworkError):
        return "the connection broke off"
    return first or type(error).__name__


def unreached(where: str, error: BaseException) -> RemoteError:
    """The error of a request without an answer, or with one that is not taken."""
    return RemoteError(f"{where}: {reason(error)}", content=isinstance(error, UNWANTED))


def document_of(response: httpx.Response) -> Any:
    """An answer's JSON. Raises ValueError for what is none, also for what nests too deep."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("the answer nests too deep") from None


def retry_after(response: httpx.Response) -> float:
    """The seconds of a Retry-After, which may be a date; 0 without one."""
    value = response.headers.get("retry-after", "")
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
        if at.tzinfo is None:
            at = at.replace(tzinfo=datetime.UTC)
        return max(0.0, at.timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def refused(method: str, url: str, response: httpx.Response) -> RemoteError:
    """The error of an answer that is not one of those wanted; query and login of the URL are left out."""
    code = message = ""
    detail = None
    try:
        first = response.json()["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
        detail = first.get("detail")
    except Exception:
        message = response.reason_phrase
    where = urlsplit(url)
    shown = f"{where.scheme}://{where.hostname}{f':{where.port}' if where.port else ''}{where.path}"
    text = f"{method} {shown}: {response.status_code} {code} {message}"
    return RemoteError(
        " ".join(text.split())[:1000], response.status_code, code, detail, retry_after(response)
    )
