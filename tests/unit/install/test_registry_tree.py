"""A Distribution's folder is read as it is, and nothing is taken whose bytes are not those of its digest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from seawall.features.replication.remote import RemoteError
from seawall.install.registry_move import State, destination
from seawall.install.registry_tree import Tree
from seawall.kernel.errors import ConfigError
from tests.support.oci.content import CONFIG, LAYER, Content
from tests.support.oci.tree import WrittenTree


@pytest.fixture
def content() -> Content:
    """An index with tag, a signature of it without, and an image without a tag."""
    made = Content()
    index = made.index(made.platforms(), "1.0")
    made.artifact("application/vnd.example.signature", subject=index)
    made.image()
    return made


@pytest.fixture
def written(tmp_path: Path, content: Content) -> WrittenTree:
    made = WrittenTree(tmp_path / "registry")
    made.write("app", content)
    made.write("team/deep/tool", content)
    return made


async def read(tree: Tree, digest: str, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in tree.blob("app", digest, offset)])


def test_reads_all_of_it(written: WrittenTree, content: Content) -> None:
    async def work() -> None:
        tree = Tree(written.root)
        assert tree.repositories() == ["app", "team/deep/tool"]
        assert await tree.tags("app") == ["1.0"]
        assert tree.revisions("app") == sorted(item.digest for item in content.manifests)
        top = content.tags["1.0"]
        assert await tree.resolve("app", "1.0") == top.digest
        found = await tree.manifest("app", "1.0")
        assert found is not None
        assert (found.payload, found.media_type) == (top.data, top.media_type)
        assert await tree.referrers("app", top.digest) == [
            item["digest"] for item in content.referrers[top.digest]
        ]
        for digest, payload in content.blobs.items():
            assert await read(tree, digest) == payload
            assert await read(tree, digest, 2) == payload[2:]
        assert await tree.resolve("app", "2.0") is None
        assert await tree.manifest("nothing/here", "1.0") is None
        assert await tree.tags("nothing/here") == []

    asyncio.run(work())


@pytest.mark.parametrize("below", ["", "docker", "docker/registry", "docker/registry/v2"])
def test_any_folder_on_the_way_will_do(written: WrittenTree, below: str) -> None:
    assert Tree(written.root / below).repositories() == ["app", "team/deep/tool"]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no registry there"):
        Tree(tmp_path)


@pytest.mark.parametrize("size", [100, 3 * 1024 * 1024])
@pytest.mark.parametrize("damage", ["changed", "cut", "longer"])
def test_a_damaged_blob_never_arrives_whole(tmp_path: Path, size: int, damage: str) -> None:
    made = Content()
    payload = os.urandom(size)
    layer = made.blob(payload, LAYER)
    made.manifest(made.blob(b"{}", CONFIG), [layer], tag="1")
    written = WrittenTree(tmp_path)
    written.write("app", made)
    wrong = {
        "changed": payload[:-1] + bytes([payload[-1] ^ 1]),
        "cut": payload[:-1],
        "longer": payload + b"x",
    }
    written.data(layer["digest"]).write_bytes(wrong[damage])

    seen: list[bytes] = []

    async def work() -> None:
        async for piece in Tree(tmp_path).blob("app", layer["digest"], 0):
            seen.append(piece)

    with pytest.raises(RemoteError, match="damaged"):
        asyncio.run(work())
    # Of a file with something behind the blob, the blob itself may have come, which is what the digest says.
    assert sum(map(len, seen)) < size or damage == "longer"


def test_what_is_missing_or_changed_is_named(written: WrittenTree, content: Content) -> None:
    async def work() -> None:
        tree = Tree(written.root)
        top = content.tags["1.0"]
        written.data(top.digest).write_bytes(top.data + b" ")
        with pytest.raises(RemoteError, match="damaged"):
            await tree.manifest("app", "1.0")
        written.data(top.digest).unlink()
        with pytest.raises(RemoteError, match="missing"):
            await tree.manifest("app", "1.0")
        blob = next(iter(content.blobs))
        written.data(blob).unlink()
        with pytest.raises(RemoteError, match="missing"):
            await read(tree, blob)

    asyncio.run(work())


@pytest.mark.parametrize("link", ["sha256:../../../../etc/passwd", "", "../../x", "sha256:" + "0" * 63])
def test_a_link_leads_to_a_digest_only(written: WrittenTree, link: str) -> None:
    (written.v2 / "repositories/app/_manifests/tags/1.0/current/link").write_text(link)
    with pytest.raises(RemoteError, match="does not hold a digest"):
        asyncio.run(Tree(written.root).manifest("app", "1.0"))


def test_names() -> None:
    assert destination("app", None) == "library/app"
    assert destination("team/app", None) == "team/app"
    assert destination("team/app", "old") == "old/team/app"


def test_state_is_kept_until_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def work() -> None:
        state = State(path)
        state.of("a/b")["sha256:1"] = "/v2/somewhere"
        await state.save()
        assert path.stat().st_mode & 0o777 == 0o600
        again = State(path)
        assert again.of("a/b") == {"sha256:1": "/v2/somewhere"}
        again.of("a/b").clear()
        await again.save()
        assert not path.exists()

    asyncio.run(work())


def test_state_is_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    for text in ("[1]", "{}", "no json", '{"uploads": 3}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="not the state"):
            State(path)
        assert path.read_text() == text
