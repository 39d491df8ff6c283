"""SBOMs by others: read, validated, shown, used where the settings say so; made by the real syft."""

# ruff: noqa: E501 - a table

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer._crypto_signer import CryptoSigner
from sqlalchemy import select

from seawall.access.tables import projects
from seawall.features.scan import foreign, importer, sbom
from seawall.features.scan.inventory import LayerSource, ScanError, build
from seawall.features.scan.model import Distribution, Found, Inventory, Limits, Package, purl
from seawall.features.scan.tables import scan_reports
from seawall.features.trust.anchors import DSSE
from seawall.infra.settings import ScanSettings, Settings
from seawall.kernel.errors import InvalidError
from seawall.process.wiring import Process, open_process
from seawall.registry.tables import repositories
from tests.support.databases import with_schema
from tests.support.scan.advisories import ev, record, write
from tests.support.scan.content import npm
from tests.support.scan.images import debian, layout, tar
from tests.support.scan.service import MANIFEST, Log, never, push, scan

CDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"


def key(item: Package) -> tuple[str, ...]:
    f = item.found
    return f.kind, f.namespace, f.name, f.version, f.source or f.name, f.source_version or f.version


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Inventory]:
    """syft's SBOMs of an image by format, and the package list that we read out of its layers."""
    root = tmp_path_factory.mktemp("syft")
    node = {"usr/lib/node_modules/@a/b/package.json": b'{"name": "@a/b", "version": "1.2.3"}'}
    layers = layout(root / "image", [debian(["libc6", "dpkg", "libssl3", "zlib1g"], files=False), tar(node)])
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("syft")), "scan", f"oci-dir:{root / 'image'}", "-q"),
            *("-o", f"cyclonedx-json={root / 'cdx'}", "-o", f"spdx-json={root / 'spdx'}"),
        ],
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    sources = [LayerSource(digest, path) for digest, path in layers]
    ours = asyncio.run(build(sources, Limits()))
    return {CDX: (root / "cdx").read_bytes(), SPDX: (root / "spdx").read_bytes()}, ours


@pytest.mark.parametrize("kind", [CDX, SPDX])
def test_syfts_sbom_is_the_package_list(made: tuple[dict[str, bytes], Inventory], kind: str) -> None:
    documents, ours = made
    theirs = foreign.read(documents[kind])
    assert (theirs.distribution.id, theirs.distribution.version) == ("debian", ours.distribution.version)
    assert {key(item) for item in theirs.packages} == {key(item) for item in ours.packages}


@pytest.mark.parametrize("kind", [CDX, SPDX])
def test_our_own_sbom_says_the_same_again(kind: str) -> None:
    system = Distribution("rocky", "9.3")
    found = [
        Found("rpm", "nodejs", "1:14.1-1", arch="x86_64", module="nodejs:14"),
        Found("rpm", "openssl-libs", "1:3.0-1", source="openssl", source_version="1:3.0-1"),
        Found("maven", "log4j-core", "2.14.1", "org.apache.logging.log4j"),
        Found("golang", "golang.org/x/net", "v0.1.0"),
        Found("npm", "@a/b", "1.0.0"),
        Found("pypi", "requests", "2.0"),
    ]
    ours = Inventory(system, [Package(item, purl(item, system), ("x",), "sha256:0") for item in found])
    theirs = foreign.read(sbom.make(kind, ours, "p/r", "sha256:" + "0" * 64, 0))
    assert (theirs.distribution.id, theirs.distribution.version) == ("rocky", "9.3")
    assert {key(item) for item in theirs.packages} == {key(item) for item in ours.packages}
    assert {item.found.module for item in theirs.packages} == {"", "nodejs:14"}


SOURCE = {"SrcName": "openssl", "SrcVersion": "3.0.11", "SrcRelease": "1", "SrcEpoch": "1"}


def test_trivys_source_packages_are_properties() -> None:
    component = {
        "type": "library",
        "name": "libssl3",
        "version": "3.0.11-1",
        "purl": "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12.4&epoch=1",
        "properties": [
            {"name": f"aquasecurity:trivy:{name}", "value": value}
            for name, value in SOURCE.items()
        ],
    }  # fmt: skip
    found = foreign.read_document({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]})
    (package,) = found.packages
    assert (package.found.version, package.found.source, package.found.source_version) == (
        "1:3.0.11-1",
        "openssl",
        "1:3.0.11-1",
    )
    assert (found.distribution.id, found.distribution.version) == ("debian", "12.4")


GOOD_SPDX = {
    "spdxVersion": "SPDX-2.3",
    "dataLicense": "CC0-1.0",
    "SPDXID": "SPDXRef-DOCUMENT",
    "name": "x",
    "documentNamespace": "https://example.test/x",
    "creationInfo": {"created": "2024-01-02T03:04:05Z", "creators": ["Tool: x"]},
    "packages": [{"SPDXID": "SPDXRef-1", "name": "a", "downloadLocation": "NOASSERTION"}],
}
NESTED: dict[str, Any] = {"type": "library", "name": "x"}
for _ in range(40):
    NESTED = {"type": "library", "name": "x", "components": [NESTED]}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "neither CycloneDX nor SPDX"),
        ({"bomFormat": "CycloneDX"}, "names no version"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.99"}, "not known"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.0"}, "has no JSON"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": {}}, "components are not a list"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [1]}, "not an object"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library"}]}, "'name'"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "rocket", "name": "x"}]}, "rocket"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [NESTED]}, "too deep"),
        ({**GOOD_SPDX, "creationInfo": {"created": "yesterday", "creators": []}}, "not valid SPDX"),
        ({**GOOD_SPDX, "packages": [{"SPDXID": "SPDXRef-1", "name": "a"}]}, "not valid SPDX"),
        ({**GOOD_SPDX, "packages": 7}, "not a list"),
        ({**GOOD_SPDX, "packages": GOOD_SPDX["packages"] * 4}, "more than 3"),  # type: ignore[operator]
    ],
)  # fmt: skip
def test_bad_sboms(document: Any, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        foreign.read(json.dumps(document).encode(), 3)


def test_no_json_and_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidError, match="not JSON"):
            foreign.read(data)
    monkeypatch.setattr(foreign, "MAX_BYTES", 10)
    with pytest.raises(InvalidError, match="too large"):
        foreign.read(b" " * 11)


VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(["", "x", "1.6", "library", "purl", "pkg:npm/a@1", "SPDXRef-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "name",
                    "version",
                    "purl",
                    "components",
                    "properties",
                    "value",
                    "SPDXID",
                    "externalRefs",
                ]
            )
            | st.sampled_from(["referenceType", "referenceLocator", "referenceCategory", "downloadLocation"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_no_document_crashes_the_reader(value: Any) -> None:
    for document in (
        value,
        {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": value},
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [value]},
        {**GOOD_SPDX, "packages": value},
        {**GOOD_SPDX, "packages": [value]},
        {"spdxVersion": "SPDX-2.3", "creationInfo": value},
    ):
        try:
            foreign.read_document(document)
        except InvalidError:
            continue
    foreign.statement(value, "sha256:0")
    foreign.statement({"subject": value, "predicateType": value, "predicate": value}, "sha256:0")


# -- in the registry ---------------------------------------------------------------------------------


def run(tmp_path: Path, mode: str, work: Callable[[Process], Awaitable[None]]) -> None:
    """Do `work` with open services whose `scan.attached_sboms` is `mode`."""
    chosen = Settings(
        data_dir=tmp_path / "data",
        auth={"mode": "none"},  # type: ignore[arg-type]
        scan=ScanSettings(attached_sboms=mode),  # type: ignore[arg-type]
    )
    with_schema(chosen.database_url)

    async def inside() -> None:
        services = open_process(chosen)
        try:
            await work(services)
        finally:
            await services.close()

    asyncio.run(inside())


async def attach(
    services: Process,
    subject: str,
    kind: str,
    data: bytes,
    artifact_type: str = "",
    more: Sequence[tuple[str, bytes]] = (),
) -> str:
    """Push a referrer with one layer, or `more`."""

    async def put(blob: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        writer = await services.storage.open_upload(str(uuid.uuid4()), 0, {})
        await writer.write(blob)
        await services.content.uploads.finish(None, writer, "library/app", digest)
        return {"digest": digest, "size": len(blob)}

    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type or kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **await put(b"{}")},
        "layers": [{"mediaType": k, **await put(d)} for k, d in ((kind, data), *more)],
    }
    if subject:
        size = len((await services.content.manifest("library/app", subject)).payload)
        document["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": size}
    else:
        # As BuildKit's attestations look.
        document["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
        del document["artifactType"]
    body = json.dumps(document).encode()
    name = "sha256:" + hashlib.sha256(body).hexdigest()
    await services.content.put_manifest("library/app", name, body, MANIFEST)
    return name


def bom(*names: str) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [
            {"type": "library", "name": name, "version": "1.0.0", "purl": f"pkg:npm/{name}@1.0.0"}
            for name in names
        ],
    }


def attestation(subject: str, document: Any, signer: CryptoSigner) -> bytes:
    """An attestation as `cosign attest --type cyclonedx` makes it, signed by securesystemslib."""
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://cyclonedx.org/bom",
        "subject": [{"name": "x", "digest": {"sha256": subject.removeprefix("sha256:")}}],
        "predicate": document,
    }
    envelope = Envelope(json.dumps(statement).encode(), "application/vnd.in-toto+json", {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict()).encode()


BROKEN = b"no tar at all" * 100


def test_an_attached_sbom_stands_in_for_layers_that_cannot_be_read(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        importer.import_path(
            services.db, write(tmp_path / "a", record("GHSA-1", "left", "npm", ev(("introduced", "0"))))
        )
        digest = await push(services, "library/app", "v1", BROKEN)
        for artifact_type, kind, data in (
            ("", CDX, b"not even JSON"),
            ("", SPDX, json.dumps({**GOOD_SPDX, "packages": 3}).encode()),
        ):
            await attach(services, digest, kind, data, artifact_type)
        (identifier,) = await services.scan.requests.request("library/app", "v1")
        log = Log()
        with pytest.raises(ScanError):
            await services.scan.runner.run(identifier, log=log, step=never)
        await services.scan.reports.failed(identifier, "it cannot be read")
        assert "left out: the SBOM is not JSON" in log.text
        assert "left out: the SBOM is not valid SPDX" in log.text
        holder = await attach(
            services, digest, CDX, json.dumps(bom("left", "right")).encode(), "application/x"
        )
        log = Log()
        found = await scan(services, "library/app", "v1", log)
        assert [(v["id"], v["package"]) for v in found["vulnerabilities"]] == [("GHSA-1", "left")]
        assert f"package list from the SBOM {holder}" in log.text
        # The list is this repository's: elsewhere the same image is what its layers say.
        other = await push(services, "library/other", "v1", BROKEN)
        assert other == digest
        (identifier,) = await services.scan.requests.request("library/other", "v1")
        with pytest.raises(ScanError):
            await services.scan.runner.run(identifier, log=Log(), step=never)
        await services.scan.reports.failed(identifier, "it cannot be read")
        # Layers that can be read go first.
        readable = await push(services, "library/app", "v2", npm(("left", "1.0.0")))
        await attach(services, readable, CDX, json.dumps(bom()).encode())
        assert len((await scan(services, "library/app", "v2"))["vulnerabilities"]) == 1
        # New advisories reach the image too, by another scan.
        importer.import_path(
            services.db, write(tmp_path / "b", record("GHSA-2", "right", "npm", ev(("introduced", "0"))))
        )
        await services.scan.rematcher.run(log=Log(), step=never)
        row = await services.db.read(lambda c: attached_report(c, digest))
        assert row.status == "Pending"

    run(tmp_path, "fallback", work)


def attached_report(connection: Any, digest: str) -> Any:
    query = select(scan_reports.c.status).join(
        repositories, repositories.c.id == scan_reports.c.repository_id
    )
    return connection.execute(
        query.where(scan_reports.c.digest == digest, repositories.c.name == "library/app")
    ).one()


def test_attached_sboms_do_not_count_by_default(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        digest = await push(services, "library/app", "v1", BROKEN)
        await attach(services, digest, CDX, json.dumps(bom("left")).encode())
        (identifier,) = await services.scan.requests.request("library/app", "v1")
        with pytest.raises(ScanError):
            await services.scan.runner.run(identifier, log=Log(), step=never)

    run(tmp_path, "never", work)


def test_where_keys_are_trusted_only_their_attestations_count(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        importer.import_path(
            services.db,
            write(
                tmp_path / "a",
                *(
                    record(f"GHSA-{name}", name, "npm", ev(("introduced", "0")))
                    for name in ("a", "b", "c", "d")
                ),
            ),
        )

        async def packages() -> list[str]:
            found = await scan(services, "library/app", "v1")
            return sorted(v["package"] for v in found["vulnerabilities"])

        digest = await push(services, "library/app", "v1", npm(("a", "1.0.0")))
        assert await packages() == ["a"]
        project = await services.db.read(lambda c: c.execute(select(projects.c.id)).scalar_one())
        ours, theirs = CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ecdsa()
        await attach(services, digest, DSSE, attestation(digest, bom("b"), ours))
        assert await packages() == ["b"]
        pem = ours.public_key.keyval["public"]
        key = await services.trust.add_key(project, "ours", pem)
        # By strangers, and newer: neither counts now.
        await attach(services, digest, DSSE, attestation(digest, bom("c"), theirs))
        await attach(services, digest, CDX, json.dumps(bom("d")).encode())
        assert await packages() == ["b"]
        # An attestation about another image is none about this one.
        await attach(services, digest, DSSE, attestation("sha256:" + "1" * 64, bom("d"), ours))
        assert await packages() == ["b"]
        # Nor does what stands beside a good one in the same manifest.
        good, bad = attestation(digest, bom("b"), ours), attestation(digest, bom("c"), theirs)
        plain = (CDX, json.dumps(bom("d")).encode())
        await attach(services, digest, DSSE, bad, more=[plain, (DSSE, good)])
        assert await packages() == ["b"]
        await services.trust.remove_key(project, key.id)
        assert await packages() == ["c"]

    run(tmp_path, "prefer", work)


def test_attestations_of_buildkit_beside_the_image(tmp_path: Path) -> None:
    """`docker buildx build --sbom=true` puts an SPDX statement into the index, as an image that is none."""

    async def work(services: Process) -> None:
        importer.import_path(
            services.db, write(tmp_path / "a", record("GHSA-1", "left", "npm", ev(("introduced", "0"))))
        )
        image = await push(services, "library/app", "image", BROKEN)
        package = {
            "SPDXID": "SPDXRef-1",
            "name": "left",
            "versionInfo": "1.0.0",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": "pkg:npm/left@1.0.0",
                }
            ],
        }
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://spdx.dev/Document",
            "subject": [{"name": "x", "digest": {"sha256": image.removeprefix("sha256:")}}],
            "predicate": {**GOOD_SPDX, "packages": [package]},
        }
        data = json.dumps(statement).encode()
        beside = await attach(services, "", "application/vnd.in-toto+json", data)
        items = []
        for digest, notes in (
            (image, {}),
            (
                beside,
                {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image},
            ),
        ):
            size = len((await services.content.manifest("library/app", digest)).payload)
            items.append({"mediaType": MANIFEST, "digest": digest, "size": size, "annotations": notes})
        kind = "application/vnd.oci.image.index.v1+json"
        index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": items}).encode()
        await services.content.put_manifest("library/app", "v1", index, kind)
        log = Log()
        found = await scan(services, "library/app", "v1", log)
        assert [v["package"] for v in found["vulnerabilities"]] == ["left"]
        assert f"package list from the SBOM {beside}" in log.text

    run(tmp_path, "fallback", work)
