"""Layers: formats, whiteouts, links, and hostile archives."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.features.scan.analyze import Delta, analyze
from seawall.features.scan.inventory import LayerSource, ScanError, State, build
from seawall.features.scan.layers import LayerError, LayerLimitError, LayerReader, clean_path
from seawall.features.scan.model import MIB, Inventory, Limits
from tests.support.scan.images import tar

PACKAGE = b'{"name": "%b", "version": "%b"}'


def package(name: str, version: str = "1.0.0") -> bytes:
    return PACKAGE % (name.encode(), version.encode())


def run(data: bytes, lower: list[str] | None = None, limits: Limits | None = None) -> Delta:
    return analyze(lambda: io.BytesIO(data), lower or [], limits or Limits())


def stack(*layers: bytes) -> Inventory:
    state = State()
    for number, data in enumerate(layers):
        state.apply(f"layer{number}", run(data, state.paths()))
    return state.inventory()


def names(inventory: Inventory) -> list[str]:
    return [p.found.name for p in inventory.packages]


@pytest.mark.parametrize(
    "pack",
    [
        lambda d: d,
        gzip.compress,
        zstandard.compress,
        # Members and frames may follow each other (eStargz, zstd:chunked).
        lambda d: b"".join(gzip.compress(d[i : i + 700]) for i in range(0, len(d), 700)),
        lambda d: b"".join(zstandard.compress(d[i : i + 700]) for i in range(0, len(d), 700)),
        lambda d: b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(d),
    ],
)
def test_compressions(pack: object) -> None:
    assert callable(pack)
    data = tar({"a/package.json": package("a"), "b/other": b"x" * 5000, "c/package.json": package("c")})
    assert sorted(run(pack(data)).files) == ["a/package.json", "c/package.json"]


def test_long_and_unusual_names() -> None:
    long = "d/" * 120 + "package.json"
    unusual = "caf\u00e9/package.json"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name in (long, unusual):
                info = tarfile.TarInfo(name)
                info.size = len(package("a"))
                archive.addfile(info, io.BytesIO(package("a")))
        assert set(run(out.getvalue()).files) == {long, unusual}


def test_whiteouts_and_opaque_directories() -> None:
    base = tar({f"{d}/package.json": package(d) for d in ("a", "b", "c", "d", "e/x", "e/y")})
    upper = tar(
        {
            "a/.wh.package.json": b"",
            ".wh.b": b"",
            "e/.wh..wh..opq": b"",
            "e/z/package.json": package("z"),
            "c": b"a file where a directory was",
        }
    )
    assert names(stack(base)) == ["a", "b", "c", "d", "e/x", "e/y"]
    assert names(stack(base, upper)) == ["d", "z"]


def test_whiteout_spares_the_same_layer_and_later_layers() -> None:
    base = tar({"a/package.json": package("old")})
    upper = tar({"a/package.json": package("new"), "a/.wh..wh..opq": b""})
    again = tar({"a/package.json": package("newer", "2.0.0")})
    assert names(stack(base, upper)) == ["new"]
    assert names(stack(base, upper, again)) == ["newer"]


def test_removed_package_is_gone() -> None:
    status = "Package: {0}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"
    base = tar({"var/lib/dpkg/status": (status.format("a") + status.format("b")).encode()})
    upper = tar({"var/lib/dpkg/status": status.format("b").encode()})
    assert names(stack(base, upper)) == ["b"]


def _link_archive(kind: bytes, first: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(first)
        info.size = len(package("linked"))
        archive.addfile(info, io.BytesIO(package("linked")))
        link = tarfile.TarInfo("node_modules/linked/package.json")
        link.type, link.linkname = kind, first
        archive.addfile(link)
    return out.getvalue()


def test_hard_link_to_a_file_without_a_telling_name(tmp_path: Path) -> None:
    data = _link_archive(tarfile.LNKTYPE, "store/v3/files/ab/cdef")
    assert list(run(data).files) == ["node_modules/linked/package.json"]
    # The same through the worker process, with the blob sent over the pipe, which is then sent twice.
    pieces = [data[:600], data[600:]]

    async def stream() -> object:
        for piece in pieces:
            yield piece

    layer = LayerSource("sha256:x", stream=stream)  # type: ignore[arg-type]
    assert names(asyncio.run(build([layer], Limits()))) == ["linked"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./usr/./lib//x", "usr/lib/x"),
        ("/etc/x", "etc/x"),
        ("../etc/x", None),
        ("a/../../x", None),
        ("a/..", None),
        ("./", ""),
        (".", ""),
        ("a..b/c", "a..b/c"),
        ("a\0b", None),
    ],
)
def test_clean_path(name: str, path: str | None) -> None:
    assert clean_path(name) == path


def test_traversal_is_left_out_and_noted() -> None:
    delta = run(tar({"../../etc/package.json": package("evil"), "a/package.json": package("a")}))
    assert list(delta.files) == ["a/package.json"]
    assert any("outside the root" in note for note in delta.notes)


def test_absolute_and_symbolic_links_are_not_followed() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, target in (("etc/os-release", "/etc/os-release"), ("x/package.json", "../../package.json")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    delta = run(out.getvalue())
    assert not delta.files
    assert not delta.distributions


def _zeros_bomb(size: int) -> bytes:
    info = tarfile.TarInfo("zeros")
    info.size = size
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(info.tobuf())]
    parts += [packer.compress(b"\0" * MIB) for _ in range(size // MIB)]
    return b"".join([*parts, packer.compress(b"\0" * 1024), packer.flush()])


def test_bombs_are_refused() -> None:
    bomb = _zeros_bomb(64 * MIB)
    with pytest.raises(LayerLimitError, match="times its size"):
        run(bomb, limits=Limits(ratio_from=16 * MIB))
    with pytest.raises(LayerLimitError, match="more than 33554432 bytes"):
        run(bomb, limits=Limits(unpacked_bytes=32 * MIB))
    with pytest.raises(LayerLimitError, match="entries"):
        run(tar({f"f{n}": b"" for n in range(50)}), limits=Limits(entries=49))
    with pytest.raises(LayerLimitError, match="seconds"):
        run(bomb, limits=Limits(seconds=0))


def test_a_file_that_claims_to_be_huge_is_skipped_without_reading_it() -> None:
    delta = run(
        tar({"package.json": b" " * 4096, "b/package.json": package("b")}), limits=Limits(file_bytes=1000)
    )
    assert list(delta.files) == ["b/package.json"]
    assert delta.notes == ["package.json: 4096 bytes, left out"]


def test_a_huge_extended_header_is_refused() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(LayerLimitError):
        run(header.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 4096)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a tar archive at all" * 40, b"\x1f\x8b\x08garbage", b"\x28\xb5\x2f\xfdgarbage"],
)
def test_not_an_archive(data: bytes) -> None:
    with pytest.raises(LayerError):
        run(data)


def test_cut_off_archives() -> None:
    data = tar({"a/package.json": package("a"), "big": b"y" * 20_000})
    with pytest.raises(LayerError):
        run(data[:5000])
    with pytest.raises(LayerError):
        run(gzip.compress(data)[:-20])


def test_worker_survives_bad_layers_and_memory_is_bounded(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\x1f\x8b\x08garbage")
    with pytest.raises(ScanError, match="ends early"):
        asyncio.run(build([LayerSource("sha256:bad", bad)], Limits()))
    greedy = tmp_path / "greedy"
    big = io.BytesIO()
    with tarfile.open(fileobj=big, mode="w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("usr/bin/big")
        info.mode, info.size = 0o755, 300 * MIB
        archive.addfile(info, _Elf(300 * MIB))
    greedy.write_bytes(big.getvalue())
    with pytest.raises(ScanError, match="memory"):
        asyncio.run(build([LayerSource("sha256:g", greedy)], Limits(memory_bytes=256 * MIB)))


class _Elf(io.RawIOBase):
    """An endless executable for tarfile to read from."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.first = True

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        data = b"\x7fELF".ljust(size, b"\0") if self.first else b"\0" * size
        self.first = False
        return data


def test_inventory_round_trip() -> None:
    inventory = stack(
        tar({"a/package.json": package("a"), "etc/os-release": b'ID=debian\nVERSION_ID="12"\n'})
    )
    assert Inventory.from_dict(inventory.as_dict()) == inventory
    assert inventory.packages[0].purl == "pkg:npm/a@1.0.0"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4096), st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
def test_damaged_archives_never_crash(noise: bytes, position: int, patch: bytes) -> None:
    good = tar({"a/package.json": package("a"), "x" * 150: b"data", "usr/bin/x": b"\x7fELF" + noise})
    damaged = good[:position] + patch + good[position + len(patch) :]
    for data in (noise, damaged, gzip.compress(damaged, 1)):
        try:
            run(data)
        except LayerError:
            continue


def test_reader_reports_positions() -> None:
    reader = LayerReader(io.BytesIO(tar({"a": b"12345", "b": b"67"})), Limits())
    seen = {}
    for entry in reader:
        assert reader.peek(2) == {"a": b"12", "b": b"67"}[entry.path]
        seen[entry.path] = reader.read()
    assert seen == {"a": b"12345", "b": b"67"}
