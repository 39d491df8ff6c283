"""Copying to a Harbor or Seawall by its own address, though it names everything by a balancer's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.login import Credentials
from seawall.features.replication.remote import RemoteError
from tests.support.digests import digest_of
from tests.support.processes import free_port
from tests.support.registry import Registry


def test_tokens_and_uploads_stay_at_the_given_address(fresh_registry: Registry) -> None:
    # Nobody is at the external address: behind a balancer it might be another registry.
    fresh_registry.environment |= {
        "SEAWALL_EXTERNAL_URL": f"http://127.0.0.1:{free_port()}",
        "SEAWALL_HTTP__WORKERS": "1",
    }
    fresh_registry.start()
    data = b"0123456789" * 100

    async def source(offset: int) -> AsyncIterator[bytes]:
        yield data[offset:]

    async def used(*, stay: bool) -> None:
        client = RegistryClient(fresh_registry.url, Credentials(*fresh_registry.admin), stay=stay)
        try:
            await client.ping()
            digest = digest_of(data)
            for by_chunk in (False, True):
                await client.put_blob(
                    f"library/app-{by_chunk}".lower(), digest, len(data), source, by_chunk=by_chunk
                )
                assert await client.has_blob(f"library/app-{by_chunk}".lower(), digest)
        finally:
            await client.close()

    asyncio.run(used(stay=True))
    with pytest.raises(RemoteError):
        asyncio.run(used(stay=False))
