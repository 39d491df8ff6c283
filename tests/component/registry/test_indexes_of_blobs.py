"""BuildKit's cache index names layers and a cache config instead of manifests."""

from __future__ import annotations

import json

import pytest

from seawall.kernel.errors import RegistryError
from seawall.registry.gc import collect
from seawall.registry.manifest import OCI_INDEX
from tests.support.lab import Lab, Run, descriptor

LAYER, CACHE = b"a layer", b'{"layers": []}'


def cache_index() -> bytes:
    named = [
        descriptor(LAYER, "application/vnd.oci.image.layer.v1.tar+gzip"),
        descriptor(CACHE, "application/vnd.buildkit.cacheconfig.v0"),
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": named}).encode()


async def there(lab: Lab, digest: str) -> bool:
    try:
        await lab.content.blob_size("p/cache", digest)
    except RegistryError:
        return False
    return True


def test_its_blobs_are_kept_while_it_is_there(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        digests = [await lab.blob("p/cache", data) for data in (LAYER, CACHE)]
        index, _ = await lab.content.put_manifest("p/cache", "main", cache_index(), OCI_INDEX)
        await collect(lab.db, lab.services.storage, grace_seconds=0, upload_seconds=0)
        assert [await there(lab, item) for item in digests] == [True, True]
        await lab.content.delete_manifest("p/cache", index)
        await collect(lab.db, lab.services.storage, grace_seconds=0, upload_seconds=0)
        assert [await there(lab, item) for item in digests] == [False, False]

    run(body)


def test_its_blobs_must_be_there(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await lab.blob("p/cache", LAYER)
        with pytest.raises(RegistryError) as refused:
            await lab.content.put_manifest("p/cache", "main", cache_index(), OCI_INDEX)
        assert refused.value.code == "MANIFEST_BLOB_UNKNOWN"

    run(body)
