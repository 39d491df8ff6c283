"""Bytes that strangers choose, given to what reads them: an answer or the documented error, never another.

Each example costs little: the whole takes seconds. `SEAWALL_FUZZ_EXAMPLES` makes it longer, for a night.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
import zipfile
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seawall.access.tokens import parse_scopes
from seawall.features.scan.analyze import analyze
from seawall.features.scan.layers import LayerError
from seawall.features.scan.model import Limits
from seawall.features.scan.parsers import java, rpm, system
from seawall.features.scan.parsers.base import ParseError
from seawall.features.trust.anchors import BUNDLE_PREFIX, COSE, DSSE, JWS, SIMPLE_SIGNING
from seawall.features.trust.cosign import cosign
from seawall.features.trust.notation import notation
from seawall.kernel.errors import RegistryError
from seawall.registry.attachments import is_attachment, needs_a_look
from seawall.registry.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse

fuzz = settings(
    max_examples=int(os.environ.get("SEAWALL_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
LIMITS = Limits(parse_seconds=2)
DIGEST = "sha256:" + "0" * 64
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "subject",
                    "config",
                    "layers",
                    "mediaType",
                    "digest",
                    "size",
                    "urls",
                    "artifactType",
                    "payload",
                    "payloadType",
                    "signatures",
                    "sig",
                    "dsseEnvelope",
                    "verificationMaterial",
                    "certificate",
                    "rawBytes",
                    "messageSignature",
                    "critical",
                    "image",
                    "predicateType",
                    "protected",
                    "signature",
                    "header",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes like `data`, with a few of them replaced, cut out or put in."""
    edits = st.lists(st.tuples(st.integers(0, max(len(data) - 1, 0)), st.binary(max_size=4)), max_size=8)

    def apply(made: list[tuple[int, bytes]]) -> bytes:
        result = bytearray(data)
        for position, piece in made:
            result[position : position + len(piece)] = piece or b""
            if not piece:
                del result[position : position + 1]
        return bytes(result)

    return edits.map(apply)


def rpm_database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    connection.execute("INSERT INTO Packages (blob) VALUES (?)", (bytes(64),))
    connection.commit()
    return bytes(connection.serialize())


def jar() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Implementation-Version: 1\n")
        archive.writestr("META-INF/maven/g/a/pom.properties", "artifactId=a\nversion=1\ngroupId=g\n")
    return out.getvalue()


def layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {
            "var/lib/dpkg/status": b"Package: a\nStatus: install ok installed\nVersion: 1\n",
            "x" * 200 + "/package.json": b'{"name": "a", "version": "1"}',
        }.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return out.getvalue()


@given(changed(layer()))
@fuzz
def test_layers(data: bytes) -> None:
    try:
        analyze(lambda: io.BytesIO(data), ["var/lib/dpkg/status"], LIMITS)
    except LayerError:
        return


@given(changed(rpm_database()) | st.binary(max_size=200).map(lambda tail: b"RpmP" + tail))
@example(b"SQLite format 3\0")
@fuzz
def test_package_databases(data: bytes) -> None:
    for read in (rpm.database, system.dpkg, system.apk):
        try:
            assert isinstance(read(data), list)
        except ParseError:
            continue


@given(changed(jar()))
@example(b"PK\x05\x06" + bytes(18))
@fuzz
def test_archives(data: bytes) -> None:
    try:
        assert isinstance(java.archive(data, "a.jar"), list)
    except ParseError:
        return


@given(JSON, st.sampled_from([OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX]))
@fuzz
def test_manifests(document: Any, kind: str) -> None:
    if isinstance(document, dict):
        document = {"schemaVersion": 2, **document}
    try:
        found = parse(json.dumps(document).encode(), kind)
    except RegistryError as error:
        assert error.status == 400
        return
    assert is_attachment(found) in (True, False)
    assert needs_a_look(found) in (True, False)


@given(
    JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200),
    st.sampled_from([SIMPLE_SIGNING, DSSE, BUNDLE_PREFIX + ".v0.3+json", JWS, COSE]),
)
@fuzz
def test_signatures(data: bytes, kind: str) -> None:
    annotations = {"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/certificate": "x"}
    if kind in (JWS, COSE):
        verdict = notation(kind, data, DIGEST, [], 0)
    else:
        verdict = cosign(kind, annotations, data, DIGEST, [], 0)
    assert not verdict.valid


@given(st.lists(st.text(max_size=60), max_size=5))
@example(["repository:a:pull,*"])
@fuzz
def test_scopes(values: list[str]) -> None:
    for item in parse_scopes(values):
        assert item.name
        assert item.actions
        assert "\0" not in item.name


@pytest.mark.parametrize("document", [{}, {"layers": None}, {"config": {"digest": DIGEST, "size": 1}}])
def test_what_declares_nothing_is_no_attachment(document: dict[str, Any]) -> None:
    try:
        found = parse(json.dumps({"schemaVersion": 2, **document}).encode(), OCI_MANIFEST)
    except RegistryError:
        return
    assert not is_attachment(found)
