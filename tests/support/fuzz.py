"""Bytes that strangers choose, given to what reads them: an answer or the documented error, never another.

    python -m tests.support.fuzz --seconds 60             # make fuzz
    python -m tests.support.fuzz --only tuf,filters --seconds 600

Each fuzzer has a folder of inputs, `tests/unit/security/corpus/NAME`. `unit/security/test_fuzz.py` replays
them and tries a few new ones made from them. A run of the command tries new ones for as long as it is told,
in turns, and saves what fails there, made as small as Hypothesis can make it; exit code 1 then. So a fault
that was found once is looked for by every run of the unit tests from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import random
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Float, Integer, MetaData, String, Table, create_engine, select

from seawall.access.tokens import parse_scopes
from seawall.availability.peers import wire
from seawall.features.scan.analyze import analyze
from seawall.features.scan.layers import LayerError
from seawall.features.scan.model import Limits
from seawall.features.scan.parsers import binaries, java, languages, rpm, system
from seawall.features.scan.parsers.base import ParseError
from seawall.features.trust import tuf
from seawall.features.trust.anchors import BUNDLE_PREFIX, COSE, DSSE, JWS, SIMPLE_SIGNING
from seawall.features.trust.cosign import cosign
from seawall.features.trust.notation import notation
from seawall.infra.db.listing import Field, Fields, Page
from seawall.infra.secrets.master import MasterKeys
from seawall.kernel.errors import InvalidError, RegistryError
from seawall.kernel.ranges import parse_content_range, parse_ranges
from seawall.registry.attachments import is_attachment, needs_a_look
from seawall.registry.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse
from seawall.web.harbor.query import parse_q
from tests.support.processes import ROOT

CORPUS = ROOT / "tests" / "unit" / "security" / "corpus"
# What takes longer is a fault too (seconds): an input has a few kilobytes.
SLOW = 20.0
_LIMITS = Limits(parse_seconds=2)
_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Fuzzer:
    """`check` takes an input and raises what is a fault; `words` are pieces that inputs are made with."""

    name: str
    check: Callable[[bytes], None]
    words: tuple[bytes, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its inputs are."""
        return CORPUS / self.name

    def corpus(self) -> list[bytes]:
        """Its inputs, by the names of their files."""
        return [file.read_bytes() for file in sorted(self.folder.iterdir())]

    def inputs(self) -> st.SearchStrategy[bytes]:
        """New inputs: those of the corpus, changed, and some of words and bytes alone."""
        known = self.corpus()
        pieces = st.sampled_from(self.words) | st.binary(max_size=6) if self.words else st.binary(max_size=8)
        edit = st.tuples(st.integers(0, 1 << 20), st.sampled_from("icrd"), pieces)

        def apply(chosen: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
            result = bytearray(chosen)
            for place, what, piece in edits:
                at = place % (len(result) + 1)
                end = at if what == "i" else at + (place % 37 if what == "d" else len(piece))
                result[at:end] = b"" if what == "d" else piece
            return bytes(result)

        changed = st.builds(apply, st.sampled_from(known), st.lists(edit, max_size=8))
        return changed | st.lists(pieces, max_size=30).map(b"".join)


def _layers(data: bytes) -> None:
    try:
        analyze(lambda: io.BytesIO(data), ["var/lib/dpkg/status"], _LIMITS)
    except LayerError:
        return


def _packages(data: bytes) -> None:
    readers = (rpm.database, system.dpkg, system.apk, binaries.executable)
    for read in readers:
        try:
            assert isinstance(read(data), list)
        except ParseError:
            continue


def _locks(data: bytes) -> None:
    for read in (
        languages.python_metadata,
        languages.requirements,
        languages.python_lock,
        languages.pipfile_lock,
        languages.package_json,
        languages.package_lock,
        languages.yarn_lock,
        languages.pnpm_lock,
        languages.go_mod,
        languages.go_sum,
        languages.cargo_lock,
        languages.gemfile_lock,
        languages.gemspec,
    ):
        try:
            found = read(data)
        except ParseError:
            continue
        assert all(len(item.name) <= 1024 and "\0" not in item.name for item in found)


def _archives(data: bytes) -> None:
    try:
        assert isinstance(java.archive(data, "a.jar"), list)
    except ParseError:
        return


def _manifests(data: bytes) -> None:
    for kind in (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX):
        try:
            found = parse(data, kind)
        except RegistryError as error:
            assert error.status == 400
            continue
        assert is_attachment(found) in (True, False)
        assert needs_a_look(found) in (True, False)


def _signatures(data: bytes) -> None:
    annotations = {"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/certificate": "x"}
    for kind in (SIMPLE_SIGNING, DSSE, BUNDLE_PREFIX + ".v0.3+json"):
        assert not cosign(kind, annotations, data, _DIGEST, [], 0).valid
    for kind in (JWS, COSE):
        assert not notation(kind, data, _DIGEST, [], 0).valid


def _scopes(data: bytes) -> None:
    for item in parse_scopes(data.decode("utf-8", "replace").split("\n")):
        assert item.name
        assert item.actions
        assert "\0" not in item.name


def _ranges(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        start, end = parse_content_range(text)
        assert 0 <= start <= end
    except RegistryError as error:
        assert error.status == 416
    for size in (0, 1, 1000):
        try:
            found = parse_ranges(text, size)
        except RegistryError as error:
            assert error.status == 416
            continue
        assert found is None or all(0 <= start < end <= size for start, end in found)
        assert found is None or sum(end - start for start, end in found) <= size


_TABLE = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String(64)),
    Column("at", Float),
    Column("on", Integer),
    Column("secret", String(64)),
)
_FIELDS: Fields = {
    "name": Field(_TABLE.c.name),
    "id": Field(_TABLE.c.id, "int"),
    "at": Field(_TABLE.c.at, "time"),
    "on": Field(_TABLE.c.on, "bool"),
}
_ENGINE = create_engine("sqlite://")


def _filters(data: bytes) -> None:
    """The query runs, and what is no field is not asked."""
    try:
        conditions = parse_q(data.decode("utf-8", "replace"))
        query = Page(1, 10, conditions).filter(select(_TABLE.c.id), _FIELDS)
    except InvalidError as error:
        assert str(error).startswith("invalid query")
        return
    assert "secret" not in str(query)
    with _ENGINE.connect() as connection:
        _TABLE.create(connection, checkfirst=True)
        assert len(connection.execute(query).all()) <= 10


def _tuf(data: bytes) -> None:
    for role in (*tuf.BASE_ROLES, "targets/releases"):
        try:
            document = tuf.parse(role, data)
            for name in tuf.BASE_ROLES:
                found = tuf.role_of(document, name)
                assert len(found.keys) >= found.threshold >= 1
                tuf.verify(document, found, "ErrBadRoot")
            tuf.delegated(document, "targets/releases")
        except tuf.TufError as error:
            assert error.message


_KEYS: Any = SimpleNamespace(masters=MasterKeys(bytes(32)))
[_FINGERPRINT] = _KEYS.masters.peer_keys("request")


def _peers(data: bytes) -> None:
    """Nobody without the key gets anything by: neither as a signature, nor as a message, nor as frames."""
    request = wire.Signed(_FINGERPRINT, "nonce", {})

    async def given_() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 7):
            yield data[start : start + 7]

    async def read() -> None:
        async for _ in wire.unframed(_KEYS, request, "question", given_()):
            raise AssertionError("bytes came through")

    with contextlib.suppress(wire.WireError):
        assert wire.signed(_KEYS, "GET", "h", "/", {wire.HEADER: data.decode("latin-1")}) is None
    for attempt in (lambda: wire.unseal(_KEYS, request, "question", data), lambda: asyncio.run(read())):
        try:
            attempt()
        except wire.WireError:
            continue
        raise AssertionError("it was taken")


_JSON = (b"{", b"}", b"[", b"]", b":", b",", b"null", b"true", b"1e999", b"-1", b'""', b"9" * 30)
_OCI = (b'"subject"', b'"config"', b'"layers"', b'"mediaType"', b'"digest"', b'"size"', b'"manifests"')
_SIGNED = (b'"payload"', b'"payloadType"', b'"signatures"', b'"sig"', b'"dsseEnvelope"', b'"critical"')
_ROLES = (b'"signed"', b'"signatures"', b'"keys"', b'"roles"', b'"keyids"', b'"threshold"', b'"keyval"')

_ZIP = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"\xff" * 4)
_Q = (b"name", b"=", b"~", b"[", b"]", b"{", b"(", b"'", b"%25", b"at", b"id")
_TAR = (b"ustar", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\0" * 512)
_LOCK = (b"[[package]]\n", b"\n", b"  ", b'"', b"= ", b"(\n", b"packages:")
_DATABASE = (b"RpmP", b"SQLite format 3\0", b"\x7fELF", b"Package: ", b"\nP:", b"\n\n")
_SCOPE = (b"repository", b":", b"pull", b"push", b"*", b",", b"/", b"(plugin)", b"\n")
_RANGE = (b"bytes", b"=", b"-", b"/", b"*", b"0", b"9" * 19, b" ", b",")

FUZZERS = {
    fuzzer.name: fuzzer
    for fuzzer in (
        Fuzzer("archives", _archives, _ZIP),
        Fuzzer("filters", _filters, _Q),
        Fuzzer("layers", _layers, _TAR),
        Fuzzer("locks", _locks, (*_JSON, *_LOCK)),
        Fuzzer("manifests", _manifests, (*_JSON, *_OCI)),
        Fuzzer("packages", _packages, _DATABASE),
        Fuzzer("peers", _peers, (b".", b"\0\0\0\x10\0", _FINGERPRINT.encode(), b"\xff" * 4)),
        Fuzzer("ranges", _ranges, _RANGE),
        Fuzzer("scopes", _scopes, _SCOPE),
        Fuzzer("signatures", _signatures, (*_JSON, *_SIGNED, b"\xd2\x84", b"eyJ", b".", b"AAAA")),
        Fuzzer("tuf", _tuf, (*_JSON, *_ROLES)),
    )
}


def one_try(fuzzer: Fuzzer, examples: int, number: int | None = None) -> bytes | None:
    """Try new inputs; the smallest that fails, None when none does. Prints what it raised."""
    failed: dict[str, bytes] = {}

    def run(data: bytes) -> None:
        began = time.monotonic()
        try:
            fuzzer.check(data)
            assert time.monotonic() - began < SLOW, "it took too long"
        except BaseException:
            failed["data"] = data
            raise

    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    test = chosen(given(fuzzer.inputs())(run))
    try:
        (seed(number)(test) if number is not None else test)()
    except Exception as error:
        if "data" not in failed:
            raise
        # Without Hypothesis's note, which shows the input and may be long.
        error.__notes__ = []
        traceback.print_exception(error, limit=-4)
        return failed["data"]
    return None


def main() -> int:
    """The command; 1 when something failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", default=",".join(FUZZERS))
    chosen = parser.parse_args()
    wanted = [FUZZERS[name] for name in chosen.only.split(",")]
    end, examples, faults = time.monotonic() + chosen.seconds, 0, 0
    while time.monotonic() < end:
        for fuzzer in wanted:
            if time.monotonic() > end:
                break
            data = one_try(fuzzer, 50, random.getrandbits(64))
            examples += 50
            if data is not None:
                faults += 1
                file = fuzzer.folder / hashlib.sha256(data).hexdigest()[:16]
                file.write_bytes(data)
                print(f"{fuzzer.name}: saved {file.relative_to(ROOT)}", file=sys.stderr)
                wanted = [item for item in wanted if item is not fuzzer]
                end = end if wanted else 0.0
                break
    print(json.dumps({"examples": examples, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
