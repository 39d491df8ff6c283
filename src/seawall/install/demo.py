"""A tiny image to try a registry with: made here byte by byte, the same on every machine, without a network.

An index of two platforms (linux/amd64, linux/arm64). Each image has one layer with a static program that
prints one line and a package.json that a scanner finds, and one SBOM (CycloneDX) that refers to the index.

Sources: System V ABI (ELF header and program header), Linux' system calls of x86-64 and AArch64, OCI Image
Specification 1.1, CycloneDX 1.5.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.remote import RemoteError
from seawall.kernel.errors import ConfigError
from seawall.kernel.names import digest_of

MESSAGE = b"Hello from Seawall.\n"
PACKAGE = "seawall-demo"
VERSION = "1.0.0"

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
# Not compressed: the bytes of a compressor differ between its versions, and so would the digest.
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_EMPTY = "application/vnd.oci.empty.v1+json"
_SBOM = "application/vnd.cyclonedx+json"
# 2026-01-01T00:00:00Z, for what needs a date.
_DATE = "2026-01-01T00:00:00Z"
_BASE = 0x400000
_HEADERS = 64 + 56


@dataclass(frozen=True, slots=True)
class Part:
    """A manifest of the demo: its media type and bytes."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """The digest, `sha256:...`."""
        return digest_of(self.data)


@dataclass(frozen=True, slots=True)
class Demo:
    """The whole demo: blobs by digest, images, the index over them, and the SBOM that refers to it."""

    blobs: dict[str, bytes]
    images: list[Part]
    index: Part
    sbom: Part


def program(architecture: str) -> bytes:
    """A static ELF program that writes MESSAGE to standard output and ends with 0."""
    if architecture == "amd64":
        machine = 62
        # write(1, MESSAGE, len); exit(0). The message follows the code: 14 bytes after `lea` has been read.
        code = (
            b"\xb8\x01\x00\x00\x00"  # mov eax, 1
            b"\xbf\x01\x00\x00\x00"  # mov edi, 1
            b"\xba" + struct.pack("<I", len(MESSAGE)) + b"\x48\x8d\x35\x0b\x00\x00\x00"  # mov edx, len
            # lea rsi, [rip + 11]
            b"\x0f\x05"  # syscall
            b"\xb8\x3c\x00\x00\x00"  # mov eax, 60
            b"\x31\xff"  # xor edi, edi
            b"\x0f\x05"  # syscall
        )
    elif architecture == "arm64":
        machine = 183
        instructions = [
            _movz(0, 1),
            # adr x1, the message: 7 instructions of 4 bytes further on; the offset's upper bits are in 5-23.
            0x10000001 | (28 >> 2) << 5,
            _movz(2, len(MESSAGE)),
            _movz(8, 64),
            0xD4000001,
            _movz(0, 0),
            _movz(8, 93),
            0xD4000001,
        ]
        code = struct.pack("<8I", *instructions)
    else:
        raise ConfigError(f"no demo program for {architecture}")
    body = code + MESSAGE
    size = _HEADERS + len(body)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + body


def _movz(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


def _tar(files: dict[str, tuple[int, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (mode, data) in files.items():
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(data)
            archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    # tarfile fills up to 10 KiB; two empty blocks are the end of an archive.
    return out.getvalue()[:end] + bytes(1024)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def build() -> Demo:
    """Make the demo; the same bytes each time."""
    blobs: dict[str, bytes] = {}
    images = []
    listed = []
    package = _json({"name": PACKAGE, "version": VERSION, "license": "Apache-2.0"})
    for architecture in ("amd64", "arm64"):
        layer = _tar({
            "hello": (0o755, program(architecture)),
            f"usr/lib/node_modules/{PACKAGE}/package.json": (0o644, package),
        })  # fmt: skip
        config = _json({
            "created": _DATE, "architecture": architecture, "os": "linux",
            "config": {"Entrypoint": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
            "history": [{"created": _DATE, "created_by": "seawall demo"}],
        })  # fmt: skip
        manifest = _json({
            "schemaVersion": 2, "mediaType": _MANIFEST, "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        })  # fmt: skip
        blobs |= {digest_of(layer): layer, digest_of(config): config}
        images.append(Part(_MANIFEST, manifest))
        platform = {"architecture": architecture, "os": "linux"}
        listed.append(_descriptor(_MANIFEST, manifest, platform=platform))
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed})
    bom = _json({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "components": [
            {"type": "library", "name": PACKAGE, "version": VERSION, "purl": f"pkg:npm/{PACKAGE}@{VERSION}"}
        ],
    })  # fmt: skip
    sbom = _json({
        "schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": _SBOM,
        "config": _descriptor(_EMPTY, b"{}"), "layers": [_descriptor(_SBOM, bom)],
        "subject": _descriptor(_INDEX, index),
    })  # fmt: skip
    blobs |= {digest_of(b"{}"): b"{}", digest_of(bom): bom}
    return Demo(blobs, images, Part(_INDEX, index), Part(_MANIFEST, sbom))


async def push(client: RegistryClient, repository: str, tag: str) -> Demo:
    """Push the demo under `repository:tag`, its SBOM next to it. Raises RemoteError."""
    demo = build()
    await client.ping()
    for digest, data in demo.blobs.items():

        async def whole(offset: int, content: bytes = data) -> Any:
            yield content[offset:]

        await client.put_blob(repository, digest, len(data), whole)
    for image in demo.images:
        await client.put_manifest(repository, image.digest, image.media_type, image.data)
    await client.put_manifest(repository, tag, demo.index.media_type, demo.index.data)
    await client.put_manifest(repository, demo.sbom.digest, demo.sbom.media_type, demo.sbom.data)
    if await client.head_manifest(repository, tag) != demo.index.digest:
        raise RemoteError(f"{client.session.url}: {repository}:{tag} is not what was pushed")
    return demo


def write_layout(folder: Path, tag: str) -> None:
    """Write the image as an OCI layout that clients push from (`oci:FOLDER:TAG`).

    Raises ConfigError when the folder holds something else.
    """
    demo = build()
    if folder.exists() and not (folder / "oci-layout").is_file() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty, and no OCI layout")
    where = folder / "blobs" / "sha256"
    where.mkdir(parents=True, exist_ok=True)
    manifests = {part.digest: part.data for part in [*demo.images, demo.index]}
    for digest, data in (demo.blobs | manifests).items():
        (where / digest.removeprefix("sha256:")).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = _descriptor(_INDEX, demo.index.data, annotations={"org.opencontainers.image.ref.name": tag})
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [named]}))
