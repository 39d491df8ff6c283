"""`storage.s3.storageclass` is told with each new blob, small or in parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seawall.infra.settings import StorageSettings
from seawall.infra.storage.connect import open_objects

Told = list[tuple[str, str | None]]


@pytest.fixture
def store() -> Iterator[tuple[str, Told]]:
    """(address, [method and kind of request, storage class])."""
    told: Told = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = self.path.partition("?")[2].partition("=")[0]
            told.append((f"{self.command} {query}".strip(), self.headers.get("x-amz-storage-class")))
            xml = b""
            if query == "uploads":
                xml = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            elif self.command == "POST":
                xml = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            self.send_response(200)
            self.send_header("ETag", '"e"')
            self.send_header("Content-Length", str(len(xml)))
            self.end_headers()
            self.wfile.write(xml)

        do_PUT = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["STANDARD_IA", None, "NONE"])
def test_storage_class(store: tuple[str, Told], name: str | None) -> None:
    address, told = store
    s3 = {"bucket": "b", "regionendpoint": address, "accesskey": "a", "secretkey": "s", "storageclass": name}
    storage = open_objects(StorageSettings.model_validate({"driver": "s3", "s3": s3}))

    async def write() -> None:
        await storage.put("small", b"x")
        writer = await storage.open_upload("session", 0, {})
        await writer.write(bytes(storage.part_bytes + 1))
        await writer.pause()

    asyncio.run(write())
    begun = dict(told)
    assert begun["PUT"] == begun["POST uploads"] == (None if name == "NONE" else name)
