"""The blob part of the conformance suite with the bytes in S3 (the whole suite: SEAWALL_TEST_STORAGE=s3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.component.web.oci.test_blobs import *  # noqa: F403
from tests.component.web.oci.test_blobs import parts_of
from tests.support.registry import Registry
from tests.support.servers.swift import SwiftServer


@pytest.fixture(scope="module")
def registry(s3_server: SwiftServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("s3") / "data", s3_server.settings(s3_server.bucket()))
    server.start()
    try:
        yield server
    finally:
        server.close()


def test_reads_are_redirected(s3_server: SwiftServer, tmp_path: Path) -> None:
    settings = s3_server.settings(s3_server.bucket())
    server = Registry(
        tmp_path / "data",
        {
            **settings,
            "SEAWALL_AUTH__MODE": "none",
            "SEAWALL_STORAGE__REDIRECT": "true",
            "SEAWALL_STORAGE__REDIRECT_ENDPOINT": f"http://localhost:{s3_server.port}",
        },
    )
    server.start()
    try:
        data = b"0123456789" * 10_000  # smaller ones are answered from memory
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        url = f"{server.url}/v2/test/repo/blobs/{digest}"
        uploads = f"{server.url}/v2/test/repo/blobs/uploads/"
        httpx.post(uploads, params={"digest": digest}, content=data).raise_for_status()
        assert httpx.head(url).headers["Content-Length"] == "100000"
        answer = httpx.get(url)
        assert answer.status_code == 307
        assert answer.headers["Location"].startswith(f"http://localhost:{s3_server.port}/")
        assert httpx.get(answer.headers["Location"]).content == data
        ranged = httpx.get(url, headers={"Range": "bytes=10-19"}, follow_redirects=True)
        assert (ranged.status_code, ranged.content) == (206, b"0123456789")
        # A store gives the whole to who asks for several ranges, so these are not redirected.
        several = httpx.get(url, headers={"Range": "bytes=10-19,99995-"})
        assert several.status_code == 206
        assert [part for _, part in parts_of(several)] == [b"0123456789", b"56789"]
        shown = server.cli("config", "check").stdout
        assert s3_server.secret_key not in shown
        assert "(set)" in shown
    finally:
        server.close()
