"""How the portal's files are served: policy, caching, compression."""

from __future__ import annotations

import asyncio
import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from seawall.web.portal import accepts, portal_routes


class Portal:
    """The portal's routes alone, asked without a network."""

    def __init__(self, root: Path) -> None:
        self._app = Starlette(routes=portal_routes(root))

    def get(self, path: str, encoding: str = "identity") -> tuple[httpx.Response, bytes]:
        """An answer and its bytes as they would go over the wire."""

        async def ask() -> tuple[httpx.Response, bytes]:
            transport = httpx.ASGITransport(app=self._app)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://portal") as client,
                client.stream("GET", path, headers={"Accept-Encoding": encoding}) as answer,
            ):
                return answer, b"".join([chunk async for chunk in answer.aiter_raw()])

        # The browser of the other tests may have its loop in this thread.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, ask()).result()


def assets(html: str) -> list[str]:
    """Addresses of the files that the page names."""
    return re.findall(r'(?:src|href)="(/portal/assets/[^"]+)"', html)


@pytest.mark.parametrize(
    "path", ["/", "/harbor", "/harbor/projects/1/repositories", "/account/sign-in", "/oidc-onboard"]
)
def test_page_everywhere_with_a_strict_policy(portal_dist: Path, path: str) -> None:
    answer, body = Portal(portal_dist).get(path)
    html = body.decode()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    header = answer.headers["content-security-policy"]
    policy = dict(part.strip().partition(" ")[::2] for part in header.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in header
    nonce = re.search(r"'nonce-([^']+)'", policy["style-src"])
    assert nonce
    assert f'nonce="{nonce[1]}"' in html
    assert "__CSP_NONCE__" not in html
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)


def test_each_answer_has_its_own_nonce(portal_dist: Path) -> None:
    portal = Portal(portal_dist)
    assert len({portal.get("/")[0].headers["content-security-policy"] for _ in range(5)}) == 5


def test_hashed_files_are_cached_and_compressed(portal_dist: Path) -> None:
    portal = Portal(portal_dist)
    script = next(path for path in assets(portal.get("/")[1].decode()) if path.endswith(".js"))
    plain, body = portal.get(script)
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    zipped, small = portal.get(script, "gzip")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small) == body
    best, smallest = portal.get(script, "gzip, deflate, br")
    assert best.headers["content-encoding"] == "br"
    assert len(smallest) < len(small) < len(body)


@pytest.mark.parametrize("path", ["assets/none.js", "../portal.py", "%2e%2e/portal.py", "index.html", ""])
def test_nothing_else_is_served(portal_dist: Path, path: str) -> None:
    assert Portal(portal_dist).get(f"/portal/{path}")[0].status_code == 404


def test_without_a_built_portal_the_page_says_so(tmp_path: Path) -> None:
    answer, body = Portal(tmp_path).get("/harbor/projects")
    assert answer.status_code == 404
    assert b"make portal" in body


@pytest.mark.parametrize(
    ("header", "coding", "expected"),
    [
        ("", "br", False),
        ("gzip, br", "br", True),
        ("gzip;q=1.0, br;q=0", "br", False),
        ("gzip;q=0.000", "gzip", False),
        ("GZIP;q=0.5", "gzip", True),
        ("x-br", "br", False),
    ],
)
def test_accept_encoding(header: str, coding: str, expected: bool) -> None:
    assert accepts(header, coding) is expected
