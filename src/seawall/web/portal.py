"""The portal: the built front end, served by every instance.

`portal/` is built into `portal_dist` when the package is built. The application's one HTML page answers at
`/`, `/harbor/...`, `/account/...`, `/devcenter-api-2.0` and `/oidc-onboard` (Harbor's portal has these
addresses); files are below `/portal/`. Files with a hash in their name never change and are cached for a
year; the page itself is never cached, for it names them, and because each answer has a nonce of its own
(Content-Security-Policy, level 3).
"""

from __future__ import annotations

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

DIST = Path(__file__).parents[1] / "portal_dist"
_NONCE = "__CSP_NONCE__"
_YEAR = "public, max-age=31536000, immutable"
# Best first; a client that names one with q=0 does not get it.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_PAGES = (
    "/",
    "/harbor",
    "/harbor/{rest:path}",
    "/account/{rest:path}",
    "/devcenter-api-2.0",
    "/oidc-onboard",
    "/device",
    "/oauth/authorize",
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_MISSING = (
    "The portal was not built into this installation (Node.js 20.19 or newer and npm build it: "
    "`make portal`). The registry and its API work without it.\n"
)


@dataclass(frozen=True, slots=True)
class _File:
    """One built file with its compressed forms; all of them are small and stay in memory."""

    body: bytes
    media_type: str
    encoded: dict[str, bytes]
    hashed: bool


def policy(nonce: str) -> str:
    """The page's Content-Security-Policy: own files only, no inline script, styles by `nonce`."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
        )
    )


def _load(root: Path) -> dict[str, _File]:
    files: dict[str, _File] = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.suffix in (".gz", ".br") or path.name == "index.html":
            continue
        name = path.relative_to(root).as_posix()
        encoded = {
            coding: Path(f"{path}{suffix}").read_bytes()
            for coding, suffix in _ENCODINGS
            if Path(f"{path}{suffix}").is_file()
        }
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if media_type in ("application/javascript", "text/javascript", "text/css"):
            media_type = media_type.replace("application/", "text/") + "; charset=utf-8"
        files[name] = _File(path.read_bytes(), media_type, encoded, name.startswith("assets/"))
    return files


def accepts(header: str, coding: str) -> bool:
    """Whether an Accept-Encoding header lets the answer have `coding` (RFC 9110, section 12.5.3)."""
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() != coding:
            continue
        weight = parameters.strip().removeprefix("q=").strip()
        return not weight or weight.strip("0.") != ""
    return False


def portal_routes(root: Path = DIST) -> list[BaseRoute]:
    """Routes of the portal in `root`; without a built portal, the page says how to get one."""
    index = root / "index.html"
    html = index.read_text() if index.is_file() else None
    files = _load(root) if html is not None else {}

    async def page(_request: Request) -> Response:
        if html is None:
            return PlainTextResponse(_MISSING, 404, headers=_HEADERS)
        nonce = secrets.token_urlsafe(18)
        headers = {**_HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": policy(nonce)}
        return Response(html.replace(_NONCE, nonce), media_type="text/html", headers=headers)

    async def asset(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found\n", 404, headers=_HEADERS)
        headers = {
            **_HEADERS,
            "Cache-Control": _YEAR if found.hashed else "public, max-age=3600",
            "Content-Security-Policy": "default-src 'none'",
            "Vary": "Accept-Encoding",
        }
        body = found.body
        asked = request.headers.get("accept-encoding", "")
        for coding, _ in _ENCODINGS:
            if coding in found.encoded and accepts(asked, coding):
                body = found.encoded[coding]
                headers["Content-Encoding"] = coding
                break
        return Response(body, media_type=found.media_type, headers=headers)

    return [
        Route("/portal/{name:path}", asset),
        *(Route(path, page) for path in _PAGES),
    ]
