"""Blobs that a proxy sends itself: nginx's `X-Accel-Redirect` (`http.accelerate`).

After all checks the proxy gets the place of the file below the storage's root, and sends the file by
`sendfile`. It is asked to only where it has said that it can, in a header that is believed of trusted proxies
alone (`seawall.web.internal.proxy`): to anybody else the answer would be an empty blob and a name of a file.
`seawall ha lb-config nginx` makes the location; from outside it cannot be asked for. When nginx cannot read
the file it asks again without the header, and gets the bytes or the error from here.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from seawall.registry.model import OpenBlob
from seawall.web.oci.http import Request

# nginx serves the storage's root here, to itself only.
PLACE = "/_seawall/files/"
# nginx would judge these by what it knows of the file, which is not what a client of a registry means.
_CONDITIONS = ("if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
# One range in a form that nginx reads as this registry does.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")


class Accelerator:
    """Names the files of blobs to a proxy of one kind."""

    def __init__(self, kind: str, root: Path) -> None:
        """`kind`: what the proxy calls itself (nginx). `root`: the storage's directory."""
        self._kind = kind
        self._root = root

    def place(self, request: Request, blob: OpenBlob) -> str | None:
        """The internal URI of the blob's file; None where the proxy cannot send it as it is asked for."""
        if blob.path is None or request.scope.get("seawall.accelerate") != self._kind:
            return None
        if any(name in request.headers for name in _CONDITIONS):
            return None
        wanted = request.headers.get("range")
        if wanted is not None and not _ONE_RANGE.fullmatch(wanted):
            return None
        try:
            return PLACE + quote(blob.path.relative_to(self._root).as_posix())
        except ValueError:
            return None


class NoAccelerator:
    """Where the server sends all bytes itself."""

    def place(self, request: Request, blob: OpenBlob) -> str | None:
        """See Accelerator.place."""
        del request, blob
        return None
