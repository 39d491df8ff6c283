"""What a Notary server must refuse, and what it must renew; signers made here, database and keys are real."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from seawall.access.tables import projects
from seawall.features.trust import tuf
from seawall.features.trust.notary import NotaryService
from seawall.features.trust.tuf import Key, TufError
from seawall.infra.db import Database, open_database
from seawall.infra.loading import load
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, NotFoundError
from tests.support.databases import with_schema

GUN = "team/app"
DAY = 86400.0


class Signer:
    """A publisher: keys of root, targets and perhaps snapshot, and the metadata made with them."""

    def __init__(self, service: NotaryService, *, own_snapshot: bool = False) -> None:
        self.service = service
        self.keys: dict[str, list[tuple[Key, bytes]]] = {
            role: [tuf.generate()] for role in ("root", "targets", "snapshot")
        }
        self.own_snapshot = own_snapshot
        self.thresholds = {"root": 1, "targets": 1}

    async def root(self, version: int = 1, **changes: Any) -> bytes:
        roles = {role: [key for key, _ in self.keys[role]] for role in ("root", "targets")}
        roles["timestamp"] = [await self.service.key(GUN, "timestamp")]
        if self.own_snapshot:
            roles["snapshot"] = [key for key, _ in self.keys["snapshot"]]
        else:
            roles["snapshot"] = [await self.service.key(GUN, "snapshot")]
        signed = {
            "_type": "Root",
            "consistent_snapshot": False,
            "expires": "2099-01-01T00:00:00Z",
            "keys": {
                key.id: {"keytype": key.type, "keyval": {"private": None, "public": key.public}}
                for found in roles.values()
                for key in found
            },
            "roles": {
                role: {"keyids": [key.id for key in found], "threshold": self.thresholds.get(role, 1)}
                for role, found in roles.items()
            },
            "version": version,
            **changes,
        }
        return self.sign("root", signed)

    def targets(self, version: int = 1, **changes: Any) -> bytes:
        signed = {
            "_type": "Targets",
            "delegations": {"keys": {}, "roles": []},
            "expires": "2099-01-01T00:00:00Z",
            "targets": {
                "v1": {"hashes": {"sha256": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}, "length": 5}
            },
            "version": version,
            **changes,
        }
        return self.sign("targets", signed)

    def snapshot(self, root: bytes, targets: bytes, version: int = 1) -> bytes:
        documents = {"root": tuf.parse("root", root), "targets": tuf.parse("targets", targets)}
        signed = {
            "_type": "Snapshot",
            "expires": "2099-01-01T00:00:00Z",
            "meta": {name: tuf.meta_of(document) for name, document in documents.items()},
            "version": version,
        }
        return self.sign("snapshot", signed)

    def sign(self, role: str, signed: dict[str, Any], keys: list[tuple[Key, bytes]] | None = None) -> bytes:
        used = [(key.id, private) for key, private in keys or self.keys[role]]
        return tuf.sign(role, signed, used).payload


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[NotaryService]:
    settings = load(None, {"data_dir": tmp_path})
    with_schema(settings.database_url)
    db: Database = open_database(settings.database_url)
    row = {"name": "team", "public": True, "created_at": 0.0, "updated_at": 0.0}
    db.sync_write(lambda c: c.execute(insert(projects), row))
    yield NotaryService(db, KeyRing.open(db, settings), now=clock)
    asyncio.run(db.close())


def run(work: Any) -> Any:
    return asyncio.run(work)


def refused(work: Any, said: str, error: type[Exception] = TufError) -> None:
    with pytest.raises(error, match=said):
        run(work)


def test_versions_only_go_up(service: NotaryService) -> None:
    signer = Signer(service)
    run(service.publish(GUN, {"root": run(signer.root()), "targets": signer.targets(3)}))
    refused(service.publish(GUN, {"targets": signer.targets(2)}), "version 3 of targets", ConflictError)
    other = signer.targets(3, targets={})
    refused(service.publish(GUN, {"targets": other}), "version 3 of targets", ConflictError)
    run(service.publish(GUN, {"targets": signer.targets(4)}))
    assert tuf.parse("targets", run(service.get(GUN, "targets")).content).version == 4
    # The versions before stay readable, for clients that began with them.
    assert tuf.parse("targets", run(service.get_by_version(GUN, "targets", 3)).content).version == 3
    # The same again is no fault: a client whose connection broke does not know that it succeeded.
    again = run(service.get(GUN, "targets")).content
    run(service.publish(GUN, {"targets": again}))


def test_thresholds_hold(service: NotaryService) -> None:
    signer = Signer(service)
    signer.keys["targets"].append(tuf.generate())
    signer.thresholds["targets"] = 2
    root = run(signer.root())
    signed = json.loads(signer.targets())["signed"]
    one = signer.sign("targets", signed, signer.keys["targets"][:1])
    refused(service.publish(GUN, {"root": root, "targets": one}), "1 valid signatures of 2")
    twice = signer.sign("targets", signed, [signer.keys["targets"][0]] * 2)
    refused(service.publish(GUN, {"root": root, "targets": twice}), "1 valid signatures of 2")
    run(service.publish(GUN, {"root": root, "targets": signer.targets()}))


def test_a_root_needs_the_old_keys_too(service: NotaryService) -> None:
    signer = Signer(service)
    run(service.publish(GUN, {"root": run(signer.root()), "targets": signer.targets()}))
    thief = Signer(service)
    thief.keys["targets"] = signer.keys["targets"]
    refused(service.publish(GUN, {"root": run(thief.root(2))}), "0 valid signatures of 1")
    old = signer.keys["root"]
    signer.keys["root"] = [tuf.generate()]
    signed = json.loads(run(signer.root(2)))["signed"]
    refused(service.publish(GUN, {"root": signer.sign("root", signed, old)}), "0 valid signatures of 1")
    both = signer.sign("root", signed, [*old, *signer.keys["root"]])
    run(service.publish(GUN, {"root": both}))
    signed["version"] = 4
    refused(service.publish(GUN, {"root": signer.sign("root", signed)}), "version 3")


def test_keys_under_false_ids_are_refused(service: NotaryService) -> None:
    signer = Signer(service)
    signed = json.loads(run(signer.root()))["signed"]
    first, second = list(signed["keys"])[:2]
    signed["keys"][first] = signed["keys"][second]
    root = signer.sign("root", signed)
    refused(service.publish(GUN, {"root": root, "targets": signer.targets()}), "an id that is not its own")


def test_the_timestamp_key_must_be_the_servers(service: NotaryService) -> None:
    signer = Signer(service)
    signed = json.loads(run(signer.root()))["signed"]
    mine = signer.keys["root"][0][0].id
    signed["roles"]["timestamp"]["keyids"] = [mine]
    root = signer.sign("root", signed)
    refused(service.publish(GUN, {"root": root, "targets": signer.targets()}), "not this server's")


def test_a_snapshot_must_be_about_what_is_sent(service: NotaryService) -> None:
    signer = Signer(service, own_snapshot=True)
    root, targets = run(signer.root()), signer.targets()
    refused(service.publish(GUN, {"root": root, "targets": targets}), "its key is not this server's")
    other = signer.snapshot(root, signer.targets(1, targets={}))
    refused(service.publish(GUN, {"root": root, "targets": targets, "snapshot": other}), "another targets")
    good = signer.snapshot(root, targets)
    run(service.publish(GUN, {"root": root, "targets": targets, "snapshot": good}))
    # Nothing of what was refused is there.
    assert run(service.get(GUN, "snapshot")).content == good


def test_expired_metadata_is_refused(service: NotaryService) -> None:
    signer = Signer(service)
    late = signer.targets(1, expires="2020-01-01T00:00:00Z")
    refused(service.publish(GUN, {"root": run(signer.root()), "targets": late}), "expired")
    refused(service.publish(GUN, {"targets": signer.targets()}), "there is no root")
    with pytest.raises(NotFoundError):
        run(service.get(GUN, "root"))


def test_timestamps_are_renewed_before_they_expire(service: NotaryService, clock: Clock) -> None:
    signer = Signer(service)
    run(service.publish(GUN, {"root": run(signer.root()), "targets": signer.targets()}))
    first = tuf.parse("timestamp", run(service.get(GUN, "timestamp")).content)
    assert tuf.parse("timestamp", run(service.get(GUN, "timestamp")).content).version == first.version
    snapshot = run(service.get(GUN, "snapshot")).content
    clock.ahead = 8 * DAY
    second = tuf.parse("timestamp", run(service.get(GUN, "timestamp")).content)
    assert second.version == first.version + 1
    assert second.expires > first.expires
    assert run(service.get(GUN, "snapshot")).content == snapshot
    clock.ahead = 3 * 365 * DAY - 10 * DAY
    third = run(service.get(GUN, "timestamp")).content
    renewed = tuf.parse("snapshot", run(service.get(GUN, "snapshot")).content)
    assert renewed.version == tuf.parse("snapshot", snapshot).version + 1
    meta = tuf.parse("timestamp", third).signed["meta"]["snapshot"]
    assert tuf.matches(meta, renewed)
    moment = datetime.datetime.fromtimestamp(clock(), datetime.UTC)
    assert not renewed.expired(moment)


def test_only_one_of_two_publishers_succeeds(service: NotaryService) -> None:
    signer = Signer(service)
    run(service.publish(GUN, {"root": run(signer.root()), "targets": signer.targets()}))
    rivals = [signer.targets(2, targets={}), signer.targets(2)]

    async def both() -> list[Any]:
        return await asyncio.gather(
            *(service.publish(GUN, {"targets": item}) for item in rivals), return_exceptions=True
        )

    results = run(both())
    assert sorted(type(item).__name__ for item in results) == ["ConflictError", "NoneType"]


def test_server_keys_are_encrypted(service: NotaryService, tmp_path: Path) -> None:
    import sqlite3

    run(service.key(GUN, "timestamp"))
    with sqlite3.connect(tmp_path / "seawall.db") as database:
        [(private,)] = database.execute("select private from tuf_keys").fetchall()
    assert private.startswith("sealed:v1:tuf:")


@given(
    st.sampled_from([*tuf.BASE_ROLES, "targets/releases"]), st.binary(max_size=300) | st.text(max_size=300)
)
def test_any_bytes_are_metadata_or_refused(role: str, data: bytes | str) -> None:
    try:
        tuf.parse(role, data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    except TufError as error:
        assert error.message


_json: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["keys", "roles", "root", "keyids", "threshold", "keyval", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"_type": st.just("Root"), "version": st.integers(1, 9), "keys": _json, "roles": _json}
    )
)
def test_any_root_is_taken_or_refused(signed: dict[str, Any]) -> None:
    signed = {**signed, "expires": "2099-01-01T00:00:00Z"}
    document = tuf.parse("root", json.dumps({"signed": signed, "signatures": []}).encode())
    for role in tuf.BASE_ROLES:
        try:
            found = tuf.role_of(document, role)
        except TufError:
            continue
        assert len(found.keys) >= found.threshold >= 1
