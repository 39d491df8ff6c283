"""Property tests: names, digests, ranges, manifests, and the upload session as a state machine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.infra.db import open_database
from seawall.infra.storage import FilesystemStorage
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest, check_name, digest_of, is_tag
from seawall.kernel.ranges import MOST_RANGES, parse_content_range, parse_ranges
from seawall.registry import manifest as manifests
from seawall.registry.hooks import Hooks
from seawall.registry.local import LocalRegistry
from tests.support.databases import with_schema

FIXED = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

words = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
separators = st.sampled_from([".", "_", "__", "-", "--", "---"])


@st.composite
def components(draw: st.DrawFn) -> str:
    """A path component built from the grammar's own rule."""
    text = draw(words)
    for separator, word in draw(st.lists(st.tuples(separators, words), max_size=3)):
        text += separator + word
    return text


@FIXED
@given(st.lists(components(), min_size=2, max_size=5))
def test_every_name_of_the_grammar_is_taken(parts: list[str]) -> None:
    name = "/".join(parts)
    assume(len(name) <= 255)
    assert check_name(name) == name


@FIXED
@given(st.text(max_size=300))
@example("a/../b")
@example("a/b\n")
@example("a//b")
@example("/a/b")
@example("a/B")
@example("a/b._c")
@example("a/b\u0661")
def test_a_name_is_kept_as_it_is_or_refused(name: str) -> None:
    try:
        assert check_name(name) == name
    except RegistryError as error:
        assert error.code == "NAME_INVALID"
    else:
        assert set(name) <= set(string.ascii_lowercase + string.digits + "._-/")
        assert ".." not in name
        assert all(part[0].isalnum() and part[-1].isalnum() for part in name.split("/"))


@FIXED
@given(st.text(max_size=140))
@example("v1\n")
@example("a" * 129)
def test_a_tag_is_never_a_path_or_digest(text: str) -> None:
    if is_tag(text):
        assert 1 <= len(text) <= 128
        assert set(text) <= set(string.ascii_letters + string.digits + "._-")
        assert text[0] not in ".-"


@FIXED
@given(st.binary(max_size=64), st.sampled_from(["sha256", "sha512"]))
def test_digests_of_data_are_valid(data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    assert check_digest(digest) == digest
    assert digest == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@FIXED
@given(st.text(max_size=160) | st.from_regex(r"sha(256|512):[0-9a-fA-F]{60,130}\n?", fullmatch=True))
@example("sha256:" + "A" * 64)
@example("sha256:" + "a" * 64 + "\n")
@example("md5:" + "a" * 32)
@example("sha256:../../etc/passwd")
def test_a_digest_is_exact_or_refused(text: str) -> None:
    try:
        check_digest(text)
    except RegistryError as error:
        assert error.code == "DIGEST_INVALID"
        return
    algorithm, value = text.split(":")
    assert len(value) == {"sha256": 64, "sha512": 128}[algorithm]
    assert set(value) <= set("0123456789abcdef")


@FIXED
@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_content_range(start: int, end: int) -> None:
    if end < start:
        with pytest.raises(RegistryError) as caught:
            parse_content_range(f"{start}-{end}")
        assert caught.value.status == 416
    else:
        assert parse_content_range(f"{start}-{end}") == (start, end)


@FIXED
@given(st.text(max_size=40))
@example("1-2-3")
@example("-1-2")
@example("٠-١")
@example("0-" + "9" * 5000)
def test_content_range_never_surprises(text: str) -> None:
    try:
        start, end = parse_content_range(text)
        assert 0 <= start <= end
    except RegistryError as error:
        assert error.status == 416


@FIXED
@given(
    st.integers(0, 1000),
    st.none() | st.integers(0, 1200),
    st.none() | st.integers(0, 1200),
)
def test_range_is_what_slicing_says(size: int, first: int | None, last: int | None) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    data = bytes(range(256)) * 4
    data = data[:size]
    if first is None and last is None:
        assert parse_ranges(header, size) is None
        return
    if first is None:
        assert last is not None
        expected = data[-last:] if last else b""
    else:
        expected = data[first : None if last is None else last + 1]
    try:
        found = parse_ranges(header, size)
    except RegistryError as error:
        assert error.status == 416
        assert error.headers["Content-Range"] == f"bytes */{size}"
        assert expected == b""
    else:
        assert found is not None
        assert [data[slice(*span)] for span in found] == [expected]
        assert expected


@FIXED
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8))
def test_ranges_give_each_byte_once(asked: list[tuple[int, int]]) -> None:
    """In the order asked, unless some overlap."""
    spans = [(start, start + length + 1) for start, length in asked]
    header = "Bytes= ," + " ,".join(f"{start}-{end - 1}" for start, end in spans) + ",,"
    wanted = [position for span in spans for position in range(*span)]
    if min(wanted) >= 100:
        return
    found = parse_ranges(header, 100)
    assert found is not None
    positions = [position for span in found for position in range(*span)]
    inside = [position for position in wanted if position < 100]
    if len(set(inside)) == len(inside):
        assert positions == inside
    else:
        assert positions == sorted(set(inside))


def test_too_many_ranges_are_ignored() -> None:
    several = "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(MOST_RANGES))
    assert len(parse_ranges(several, 10_000) or []) == MOST_RANGES
    assert parse_ranges(several + ",9000-9001", 10_000) is None
    assert parse_ranges("bytes=0-1" + "," * 70_000, 10_000) is None
    assert parse_ranges("bytes=0-1,x", 10_000) is None
    with pytest.raises(RegistryError):
        parse_ranges("bytes=0-1,5-3", 10_000)


@FIXED
@given(st.text(max_size=40), st.integers(0, 100))
@example("bytes=0-1,3-4", 10)
@example("bytes=٠-", 10)
@example("items=0-1", 10)
def test_range_never_surprises(text: str, size: int) -> None:
    try:
        found = parse_ranges(text, size)
    except RegistryError as error:
        assert error.status == 416
    else:
        assert found is None or all(0 <= start < end <= size for start, end in found)


# -- manifests ---------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
VALID: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": manifests.OCI_MANIFEST,
    "artifactType": "application/x",
    "config": {"mediaType": manifests.EMPTY_CONFIG, "digest": digest_of(b"{}"), "size": 2},
    "layers": [{"mediaType": "application/octet-stream", "digest": digest_of(b"x"), "size": 1}],
    "subject": {"mediaType": manifests.OCI_MANIFEST, "digest": digest_of(b"s"), "size": 1},
    "annotations": {"a": "b"},
}


def parse(payload: bytes) -> manifests.Manifest | None:
    """Parse; only a MANIFEST_INVALID may come out."""
    try:
        return manifests.parse(payload, manifests.OCI_MANIFEST)
    except RegistryError as error:
        assert error.code == "MANIFEST_INVALID"
        json.dumps(error.message)
        return None


@FIXED
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"config":' * 50_000)
@example(b'{"schemaVersion": 1e400}')
@example(b"\xff\xfe{}")
def test_bytes_that_are_no_manifest(payload: bytes) -> None:
    assert parse(payload) is None


@FIXED
@given(json_values)
def test_json_that_is_no_manifest(value: Any) -> None:
    parse(json.dumps(value).encode())


@FIXED
@given(st.sampled_from(sorted(VALID)), json_values)
def test_a_manifest_with_one_field_changed(key: str, value: Any) -> None:
    parsed = parse(json.dumps({**VALID, key: value}).encode())
    if parsed is not None:
        for digest in (*parsed.blobs, *parsed.manifests):
            check_digest(digest)
        assert all(size >= 0 for size in parsed.blobs.values())


@FIXED
@given(st.sampled_from(sorted(VALID)))
def test_a_manifest_with_one_field_left_out(key: str) -> None:
    parsed = parse(json.dumps({k: v for k, v in VALID.items() if k != key}).encode())
    assert (parsed is None) == (key in ("schemaVersion", "config"))


@pytest.mark.parametrize("lists", [{}, {"layers": None}, {"layers": [], "manifests": None}])
def test_an_absent_list_of_layers_is_an_empty_one(lists: dict[str, Any]) -> None:
    value = {**{k: v for k, v in VALID.items() if k != "layers"}, **lists}
    parsed = parse(json.dumps(value).encode())
    assert parsed is not None
    assert list(parsed.blobs) == [VALID["config"]["digest"]]


@pytest.mark.parametrize("own", ["", None])
def test_what_go_writes_for_strings_that_were_never_set(own: str | None) -> None:
    config = {**VALID["config"], "mediaType": None}
    value = {**VALID, "mediaType": own, "config": config, "annotations": {"a": None, "b": "c"}}
    kind = f"{manifests.OCI_MANIFEST.upper()}; charset=utf-8"
    parsed = manifests.parse(json.dumps(value).encode(), kind)
    assert (parsed.media_type, parsed.annotations) == (manifests.OCI_MANIFEST, {"a": "", "b": "c"})
    # A Docker document names its own type.
    with pytest.raises(RegistryError):
        manifests.parse(json.dumps(value).encode(), manifests.DOCKER_MANIFEST)


def test_the_type_of_a_manifest_that_a_file_server_sends() -> None:
    for said in ("", "application/json", "text/plain; charset=utf-8"):
        for kind in (manifests.OCI_INDEX, manifests.DOCKER_MANIFEST):
            assert manifests.type_of(json.dumps({"mediaType": kind}).encode(), said) == kind
        index = {"schemaVersion": 2, "manifests": []}
        assert manifests.type_of(json.dumps(index).encode(), said) == manifests.OCI_INDEX
        image = {"schemaVersion": 2, "config": VALID["config"]}
        assert manifests.type_of(json.dumps(image).encode(), said) == manifests.OCI_MANIFEST
        for other in (b"<html>", b"{}", json.dumps({**index, **image}).encode(), b'{"mediaType": "a/b"}'):
            assert manifests.type_of(other, said) == said


@pytest.mark.parametrize("lists", [{}, {"manifests": None}, {"manifests": [], "config": None}])
def test_an_absent_list_of_manifests_is_an_empty_one(lists: dict[str, Any]) -> None:
    value = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, **lists}
    parsed = manifests.parse(json.dumps(value).encode(), manifests.OCI_INDEX)
    assert (parsed.manifests, parsed.blobs) == ((), {})


def test_an_index_names_blobs_by_their_media_type() -> None:
    def named(data: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    layer = named(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip")
    config = named(b"cache config", "application/vnd.buildkit.cacheconfig.v0")
    child = named(b"child", manifests.OCI_MANIFEST)

    def index(*items: dict[str, Any]) -> manifests.Manifest:
        value = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": list(items)}
        return manifests.parse(json.dumps(value).encode(), manifests.OCI_INDEX)

    parsed = index(layer, child, config)
    assert parsed.blobs == {layer["digest"]: 5, config["digest"]: 12}
    assert parsed.manifests == (child["digest"],)
    with pytest.raises(RegistryError):
        index(child, {**child, "mediaType": layer["mediaType"]})


def test_the_manifest_itself_is_valid() -> None:
    parsed = parse(json.dumps(VALID).encode())
    assert parsed is not None
    assert parsed.blobs == {digest_of(b"{}"): 2, digest_of(b"x"): 1}
    assert parsed.subject == digest_of(b"s")


# -- upload sessions ---------------------------------------------------------------------------------


class UploadSessions(RuleBasedStateMachine):
    """One session at a time against two service instances on the same SQLite file and directory."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="seawall-upload-"))
        self.loop = asyncio.new_event_loop()
        self.url = f"sqlite:///{self.root}/seawall.db"
        with_schema(self.url)
        self.services = [self._service(), self._service()]
        self.session: str | None = None
        self.received = b""
        self.stored: dict[str, bytes] = {}

    def _service(self) -> LocalRegistry:
        storage = FilesystemStorage(self.root / "blobs", threads=2)
        return LocalRegistry(open_database(self.url), storage, create_projects=True, hooks=Hooks())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        for service in self.services:
            self.run(service.db.close())
        self.loop.close()
        shutil.rmtree(self.root)

    @initialize()
    def begin(self) -> None:
        self.start(0)

    @precondition(lambda self: self.session is None)
    @rule(which=st.integers(0, 1))
    def start(self, which: int) -> None:
        self.session = self.run(self.services[which].uploads.start("p/r")).id
        self.received = b""

    @precondition(lambda self: self.session is not None)
    @rule(which=st.integers(0, 1), data=st.binary(max_size=3000))
    def append(self, which: int, data: bytes) -> None:
        async def work(service: LocalRegistry) -> int:
            upload = await service.uploads.get("p/r", self.session or "")
            writer = await service.uploads.open_writer(upload)
            if data:
                await writer.write(data)
            return await service.uploads.save_progress(upload, writer)

        self.received += data
        assert self.run(work(self.services[which])) == len(self.received)

    @precondition(lambda self: self.session is not None)
    @rule(which=st.integers(0, 1), data=st.binary(min_size=1, max_size=500))
    def torn_append(self, which: int, data: bytes) -> None:
        """A process dies after writing bytes and before recording them: they do not count."""

        async def work(service: LocalRegistry) -> None:
            writer = await service.uploads.open_writer(await service.uploads.get("p/r", self.session or ""))
            await writer.write(data)
            await writer.pause()

        self.run(work(self.services[which]))

    @precondition(lambda self: self.session is not None)
    @rule(which=st.integers(0, 1))
    def busy(self, which: int) -> None:
        """While one request holds the session, another is refused with 409."""
        if not self.received:
            return

        async def work(service: LocalRegistry, other: LocalRegistry) -> None:
            upload = await service.uploads.get("p/r", self.session or "")
            writer = await service.uploads.open_writer(upload)
            try:
                with pytest.raises(RegistryError) as caught:
                    await other.uploads.open_writer(upload)
                assert caught.value.status == 409
            finally:
                await service.uploads.save_progress(upload, writer)

        self.run(work(self.services[which], self.services[1 - which]))

    @precondition(lambda self: self.session is not None)
    @rule(
        which=st.integers(0, 1), algorithm=st.sampled_from(["sha256", "sha512"]), last=st.binary(max_size=99)
    )
    def finish(self, which: int, algorithm: str, last: bytes) -> None:
        async def work(service: LocalRegistry, digest: str) -> None:
            upload = await service.uploads.get("p/r", self.session or "")
            writer = await service.uploads.open_writer(upload)
            if last:
                await writer.write(last)
            await service.uploads.finish(upload, writer, "p/r", digest)

        whole = self.received + last
        digest = digest_of(whole, algorithm)
        self.run(work(self.services[which], digest))
        self.stored[digest] = whole
        self.session = None

    @precondition(lambda self: self.session is not None)
    @rule(which=st.integers(0, 1))
    def finish_with_wrong_digest(self, which: int) -> None:
        async def work(service: LocalRegistry) -> None:
            upload = await service.uploads.get("p/r", self.session or "")
            writer = await service.uploads.open_writer(upload)
            with pytest.raises(RegistryError) as caught:
                await service.uploads.finish(upload, writer, "p/r", digest_of(self.received + b"!"))
            assert caught.value.code == "DIGEST_INVALID"

        self.run(work(self.services[which]))
        self.session = None

    @precondition(lambda self: self.session is not None)
    @rule(which=st.integers(0, 1))
    def cancel(self, which: int) -> None:
        self.run(self.services[which].uploads.cancel("p/r", self.session or ""))
        for service in self.services:
            with pytest.raises(RegistryError):
                self.run(service.uploads.get("p/r", self.session or ""))
        self.session = None

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self.run(self.services[which].db.close())
        self.services[which] = self._service()

    @precondition(lambda self: self.stored)
    @rule(which=st.integers(0, 1))
    def mount(self, which: int) -> None:
        digest = sorted(self.stored)[0]
        assert self.run(self.services[which].mount_blob("p/other", digest, "p/r"))
        assert self.run(self.services[1 - which].blob_size("p/other", digest)) == len(self.stored[digest])

    @invariant()
    def session_is_where_the_model_is(self) -> None:
        if self.session is None:
            assert list((self.root / "blobs/uploads").iterdir()) == []
            return
        for service in self.services:
            assert self.run(service.uploads.get("p/r", self.session)).offset == len(self.received)

    @invariant()
    def stored_blobs_are_whole(self) -> None:
        files = {path.name for path in (self.root / "blobs/blobs").glob("*/*")}
        keys = set()
        for digest, data in self.stored.items():
            blob = self.run(self.services[0].blobs.get("p/r", digest))
            path = self.services[0].storage.locate(blob.key).path
            assert path is not None
            assert path.read_bytes() == data
            keys.add(path.name)
        assert files == keys, "a file that no blob names was left behind"


UploadSessions.TestCase.settings = settings(FIXED, max_examples=30, stateful_step_count=20)
TestUploadSessions = UploadSessions.TestCase
