"""How long adopting a large Harbor takes: `python -m bench.adopt_harbor [ARTIFACTS [HARBOR-URL [EVERY]]]`.

Makes a Distribution's tree of one-layer images (20 MB each, as sparse files) in repositories of 50, and the
rows that Harbor has of them: in a database of its own, or in HARBOR-URL, which Harbor's migrations have made.
Runs the command dry, in full and again, then pulls every (or
every EVERYth) manifest by tag and by digest.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import httpx
from tests.support.digests import digest_of
from tests.support.harbor.database import SECRET_KEY, Harbor, blob_file
from tests.support.registry import Registry
from tests.support.servers.postgres import running_postgres

_LAYER = 20 * 1024 * 1024
_REPOSITORY = 50
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def store(tree: Path, digest: str, data: bytes, size: int | None = None) -> None:
    path = tree / blob_file(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        if size is not None:
            file.truncate(size)


def fill(tree: Path, harbor: Harbor, artifacts: int) -> list[tuple[str, str, str]]:
    """Make everything; returns (repository, tag, digest) of each artifact."""
    made = []
    project = harbor.project("many")
    with harbor.connection.transaction():
        for number in range(artifacts):
            name = f"many/app{number // _REPOSITORY}"
            if number % _REPOSITORY == 0:
                repository = harbor.add(
                    "repository", "repository_id", name=name, project_id=project, description=""
                )
            layer = digest_of(f"layer {number}".encode())
            config = json.dumps({"os": "linux", "architecture": "amd64", "number": number}).encode()
            document = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest_of(config),
                    "size": len(config),
                },
                "layers": [
                    {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": _LAYER}
                ],
            }
            payload = json.dumps(document).encode()
            digest = digest_of(payload)
            store(tree, layer, b"", _LAYER)
            store(tree, digest_of(config), config)
            store(tree, digest, payload)
            artifact = harbor.artifact(repository, project, name, digest, tree)
            tag = f"v{number % _REPOSITORY}"
            harbor.add("tag", repository_id=repository, artifact_id=artifact, name=tag)
            made.append((name, tag, digest))
    return made


async def pull(url: str, made: list[tuple[str, str, str]]) -> None:
    slots = asyncio.Semaphore(20)
    async with httpx.AsyncClient(base_url=url, auth=("admin", "Harbor12345"), timeout=60) as client:

        async def one(name: str, reference: str, digest: str) -> None:
            async with slots:
                answer = await client.get(f"/v2/{name}/manifests/{reference}", headers={"Accept": _MANIFEST})
            assert answer.status_code == 200, answer.text
            assert digest_of(answer.content) == digest

        await asyncio.gather(
            *(one(name, reference, digest) for name, tag, digest in made for reference in (tag, digest))
        )


def main(artifacts: int, url: str | None, every: int) -> None:
    with running_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        harbor = Harbor(url or postgres.database(), own_schema=url is None)
        if url is not None:
            harbor.run(
                "UPDATE harbor_user SET password = u.password, salt = u.salt, password_version = 'sha256' "
                "FROM (VALUES (%s, %s)) AS u(password, salt) WHERE user_id = 1",
                *harbor.secret("Harbor12345"),
            )
        tree = Path(folder) / "registry"
        made = fill(tree, harbor, artifacts)
        print(f"{len(made)} artifacts, {len(made) * _LAYER / 2**30:.0f} GiB nominal", flush=True)
        seawall = Registry(
            Path(folder) / "data",
            {"SEAWALL_DATABASE__URL": postgres.database(), "SEAWALL_STORAGE__ROOT": str(tree)},
        )
        seawall.start()
        try:
            seawall.environment |= {
                "SEAWALL_HARBOR_SECRET_KEY": SECRET_KEY,
                "SEAWALL_HARBOR_DATABASE": harbor.url,
            }
            for arguments in ([], ["--apply"], ["--apply"], ["--switch"]):
                began = time.monotonic()
                done = seawall.cli("adopt-harbor", "--json", *arguments)
                assert done.returncode == 0, done.stdout[-2000:] + done.stderr
                report = json.loads(done.stdout)
                print(
                    f"{' '.join(arguments) or 'dry run'}: {time.monotonic() - began:.1f} s, "
                    f"{report['counts']['artifact']}, estimate {report['estimate']} s",
                    flush=True,
                )
            began = time.monotonic()
            asyncio.run(pull(seawall.url, made[::every]))
            print(
                f"{2 * len(made[::every])} manifests pulled in {time.monotonic() - began:.0f} s", flush=True
            )
        finally:
            seawall.close()
            harbor.close()


if __name__ == "__main__":
    given = [*sys.argv[1:], *("10000", "", "1")[len(sys.argv) - 1 :]]
    main(int(given[0]), given[1] or None, int(given[2]))
