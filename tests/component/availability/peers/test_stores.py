"""Three databases, changed and exchanged at random: afterwards they say the same."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, exists, insert, select, update

from seawall.access import identities
from seawall.access.access import project_by_name
from seawall.access.accounts import ensure_admin
from seawall.access.oidc_provider import Identity
from seawall.access.sources import Change
from seawall.availability.peers import schema as t
from seawall.availability.peers import wire
from seawall.availability.peers.kinds import KINDS
from seawall.availability.peers.lead import leads_elsewhere
from seawall.availability.peers.model import Context, Told, dump
from seawall.availability.peers.store import Store
from seawall.features.retention import rules as retention
from seawall.infra.db import changes, migrate, open_database
from seawall.infra.db.dump import tables as dumped
from seawall.infra.jobs import claims
from seawall.infra.settings import Settings
from seawall.kernel.context import REPLICATOR, actor
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import digest_of
from seawall.process.wiring import Process, open_process
from seawall.registry import gc
from seawall.registry.projects import make_library, not_deletable

INDEX = "application/vnd.oci.image.index.v1+json"
MASTER = base64.b64encode(secrets.token_bytes(32)).decode()
PROJECTS, USERS, TAGS = ("p1", "p2"), ("u1", "u2"), ("x", "y")
REPLICAS = (0, 1, 2)
_PROVIDER = {"endpoint": "https://id.example", "client_id": "seawall"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("stores") / "seawall.db"
    url = f"sqlite:///{file}"
    migrate.upgrade(url)
    db = open_database(url)
    ensure_admin(db, "Seawall-12345", make_library)
    asyncio.run(db.close())
    return file


class Instance:
    """A database, and what it has told and heard."""

    def __init__(self, root: Path, template: Path, number: int) -> None:
        folder = root / str(number)
        folder.mkdir()
        shutil.copy(template, folder / "seawall.db")
        self.name = "abc"[number]
        self.services: Process = open_process(Settings(data_dir=folder, master_key=MASTER))
        self.db = self.services.db
        context = Context(self.services.keys, self.services.jobs)
        self.store = Store(context, self.services.content, self.name)
        self.cursors: dict[str, int] = {}

    async def start(self) -> None:
        await self.db.write(self.store.entries.prepare)
        cursor = await self.db.read(changes.position)
        await self.compare(first=True)
        await self.db.write(lambda c: c.execute(update(t.peer_state).values(feed_cursor=cursor)))

    async def compare(self, *, first: bool = False) -> int:
        def run(connection: Connection) -> int:
            keys = {key for kind in KINDS.values() for key in self.store.local.differing(connection, kind)}
            return self.store.local.check(connection, keys, first=first)

        return await self.db.write(run)

    async def hear(self, other: Instance, contents: dict[str, bytes], *, again: bool = False) -> int:
        """Take what `other` has new (`again`: all of it), with content."""
        assert await other.db.write(other.store.local.observe) is not None
        after = 0 if again else self.cursors.get(other.name, 0)
        answer = await other.db.read(lambda c: other.store.entries.told(c, after, 1000))
        told = [Told.of(json.loads(json.dumps(item))) for item in answer["entries"]]
        if not told:
            return 0
        count = await self.db.write(lambda c: self.store.applier.take(c, told, other.name))
        self.cursors[other.name] = max(self.cursors.get(other.name, 0), answer["next"])
        rows = await self.db.read(lambda c: c.execute(select(t.peer_pending)).all())
        for row in rows:
            document = json.loads(self.services.keys.decrypt("peers", row.document))
            if row.kind not in ("manifest", "tag") or document is None:
                continue
            repository, name = json.loads(row.key)
            digest = document["digest"] if row.kind == "tag" else name
            if await self._has(other, repository, digest):
                for child in json.loads(contents[digest])["manifests"]:
                    assert await self._has(other, repository, child["digest"])
                    payload = contents[child["digest"]]
                    await self._bring(repository, child["digest"], payload, document["pushed_at"])
                await self._bring(repository, digest, contents[digest], document["pushed_at"])
        if rows:
            count += await self.db.write(self.store.applier.retry)
            count += await self.db.write(lambda c: self.store.applier.decide(c, other.name))
        return count

    @staticmethod
    async def _has(other: Instance, repository: str, digest: str) -> bool:
        try:
            await other.services.content.manifest(repository, digest)
        except RegistryError:
            return False
        return True

    async def _bring(self, repository: str, digest: str, payload: bytes, at: float) -> None:
        token = actor.set(REPLICATOR)
        try:
            await self.services.content.manifests.put(repository, digest, payload, INDEX, at=at, replica=True)
        except RegistryError as error:
            assert error.code == "NAME_UNKNOWN"
        finally:
            actor.reset(token)

    async def broken(self) -> list[Any]:
        """What indexes name and is not here."""
        references, manifests = t.manifest_references, t.manifests.alias()
        query = select(references.c.digest).where(
            references.c.kind == "manifest",
            ~exists().where(
                manifests.c.repository_id == references.c.repository_id,
                manifests.c.digest == references.c.digest,
            ),
        )
        return list(await self.db.read(lambda c: c.execute(query).scalars().all()))

    async def says(self) -> dict[tuple[str, str], str]:
        """Digest of every document."""

        def run(connection: Connection) -> dict[tuple[str, str], str]:
            rows = connection.execute(select(t.peer_entries).where(t.peer_entries.c.deleted.is_(False))).all()
            return {(row.kind, row.key): row.digest for row in rows}

        return await self.db.read(run)


def _set(connection: Connection, table: Any, values: dict[str, Any], **where: Any) -> None:
    conditions = [table.c[name] == value for name, value in where.items()]
    if not connection.execute(update(table).where(*conditions).values(**values)).rowcount:
        connection.execute(insert(table).values(**where, **values))


def _id(connection: Connection, table: Any, **where: Any) -> int | None:
    query = select(table.c.id).where(*(table.c[name] == value for name, value in where.items()))
    found: int | None = connection.execute(query).scalar()
    return found


def _index(name: str, *children: bytes) -> bytes:
    manifests = [{"mediaType": INDEX, "digest": digest_of(data), "size": len(data)} for data in children]
    annotations = {"n": name}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations}
    ).encode()


async def change(instance: Instance, action: str, one: str, two: str, contents: dict[str, bytes]) -> None:
    """One change, as the API would make it; nothing when what it is about is not there."""
    project, user = PROJECTS[int(one)], USERS[int(two)]
    now = {"created_at": 5.0, "updated_at": 6.0}

    def run(connection: Connection) -> None:
        project_id = _id(connection, t.projects, name=project)
        user_id = _id(connection, t.users, username=user)
        match action:
            case "user":
                values = {"email": f"{secrets.choice('mn')}@example.test", "sysadmin": False, **now}
                _set(connection, t.users, values, username=user)
            case "password":
                hashed = secrets.token_hex(2)
                connection.execute(
                    update(t.users).where(t.users.c.username == user).values(password_hash=hashed)
                )
            case "administrator":
                connection.execute(update(t.users).where(t.users.c.username == user).values(sysadmin=True))
            case "no user":
                connection.execute(delete(t.users).where(t.users.c.username == user))
            case "project":
                _set(connection, t.projects, {"public": secrets.randbelow(2) == 1, **now}, name=project)
            case "no project":
                held = select(t.manifests.c.id).where(t.manifests.c.project_id == project_id)
                if not connection.execute(held).first():
                    connection.execute(delete(t.projects).where(t.projects.c.name == project))
            case "member" if project_id and user_id:
                role = secrets.choice(["developer", "guest"])
                _set(connection, t.project_members, {"role": role}, project_id=project_id, user_id=user_id)
            case "label" if project_id:
                values = {"color": secrets.token_hex(2), **now}
                _set(connection, t.labels, values, project_id=project_id, name=f"l{two}")
            case "no label":
                connection.execute(delete(t.labels).where(t.labels.c.name == f"l{two}"))
            case "setting":
                _set(connection, t.configurations, {"value": two, "updated_at": 1.0}, name="banner_message")

    if action in ("push", "index", "untag", "no manifest", "no child"):
        repository, tag = f"{project}/r", TAGS[int(two)]
        content = instance.services.content
        try:
            if action == "push":
                payload = _index(secrets.choice("123"))
                contents[digest_of(payload)] = payload
                await content.put_manifest(repository, tag, payload, INDEX)
            elif action == "index":
                # As `docker buildx` does: the child by its digest, then the index that names it.
                child = _index("child")
                payload = _index(secrets.choice("45"), child)
                contents.update({digest_of(data): data for data in (child, payload)})
                await content.put_manifest(repository, digest_of(child), child, INDEX)
                await content.put_manifest(repository, tag, payload, INDEX)
            elif action == "no child":
                await content.delete_manifest(repository, digest_of(_index("child")))
            elif action == "untag":
                await content.delete_manifest(repository, tag)
            else:
                found = await content.manifest(repository, tag)
                await content.delete_manifest(repository, found.digest)
        except RegistryError as error:
            # 405, 412: an index that is here needs it.
            assert error.status in ((404, 405, 412) if action in ("no manifest", "no child") else (404,))
        return
    await instance.db.write(run)


ACTIONS = (
    "user",
    "no user",
    "project",
    "project",
    "no project",
    "member",
    "label",
    "no label",
    "setting",
    "password",
    "administrator",
    "push",
    "push",
    "index",
    "index",
    "untag",
    "no manifest",
    "no child",
)
STEP = st.one_of(
    st.tuples(
        st.just("change"),
        st.sampled_from(REPLICAS),
        st.sampled_from(ACTIONS),
        st.sampled_from(["00", "01", "11"]),
    ),
    st.tuples(st.just("hear"), st.sampled_from(REPLICAS), st.sampled_from(REPLICAS), st.booleans()),
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=4, max_size=20))
def test_stores_converge(template: Path, steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(_converge(template, steps))


async def _converge(template: Path, steps: list[tuple[Any, ...]]) -> None:
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="seawall-stores-") as folder:
        instances = [Instance(Path(folder), template, number) for number in REPLICAS]
        try:
            for instance in instances:
                await instance.start()
            for what, number, third, fourth in steps:
                if what == "change":
                    await change(instances[number], third, fourth[0], fourth[1], contents)
                elif number != third:
                    await instances[number].hear(instances[third], contents, again=fourth)
            for _ in range(12):
                changed = 0
                for one in instances:
                    for other in instances:
                        if one is not other:
                            changed += await one.hear(other, contents)
                if not changed:
                    break
            said = [await instance.says() for instance in instances]
            assert said[0] == said[1] == said[2]
            for instance in instances:
                assert await instance.broken() == []
                # The change feed missed nothing, and nothing waits for ever.
                assert await instance.compare() == 0
                left = await instance.db.read(lambda c: c.execute(select(t.peer_pending)).all())
                assert not left, [(row.kind, row.key, row.reason) for row in left]
        finally:
            for instance in instances:
                await instance.services.close()


def test_first_join_of_two_filled_instances(template: Path, tmp_path: Path) -> None:
    asyncio.run(_join(template, tmp_path))


def _filled(name: str, color: str, at: float, touched: float | None) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        connection.execute(insert(t.labels).values(name="both", color=color, created_at=1.0, updated_at=at))
        values: dict[str, Any] = {"password_hash": f"hash of {name}"}
        if touched is not None:
            values["updated_at"] = touched
        connection.execute(update(t.users).where(t.users.c.username == "admin").values(**values))

    return run


def _label_and_password(connection: Connection) -> tuple[Any, Any]:
    query = select(t.users.c.password_hash).where(t.users.c.username == "admin")
    return connection.execute(select(t.labels.c.color)).scalar(), connection.execute(query).scalar()


async def _join(template: Path, folder: Path) -> None:
    one, two = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        for instance, color, at in ((one, "#111111", 1000.0), (two, "#222222", 2000.0)):
            await change(instance, "project", "0", "0", contents)
            # Another password each; only the one at `one` was set by somebody.
            touched = 3000.0 if instance is one else None
            await instance.db.write(_filled(instance.name, color, at, touched))
            await instance.start()
        await change(one, "user", "0", "0", contents)
        await change(two, "user", "0", "1", contents)
        for _ in range(3):
            await one.hear(two, contents)
            await two.hear(one, contents)
        said = await one.says()
        assert said == await two.says()
        for user in USERS:
            assert ("user", dump([user])) in said
        for instance in (one, two):
            assert await instance.db.read(_label_and_password) == ("#222222", "hash of a")
            lost = await instance.db.read(lambda c: c.execute(select(t.peer_conflicts)).all())
            assert {(row.kind, row.key) for row in lost} >= {
                ("label", dump([None, "both"])),
                ("user-password", dump(["admin"])),
            }
    finally:
        await one.services.close()
        await two.services.close()


def test_two_people_who_choose_one_name_apart(template: Path, tmp_path: Path) -> None:
    """One of them has the account afterwards; the other is not let into it."""
    asyncio.run(_one_name(template, tmp_path))


async def _one_name(template: Path, folder: Path) -> None:
    one, two = (Instance(folder, template, number) for number in (0, 1))
    try:
        for instance in (one, two):
            await instance.start()
        who = [
            Identity("https://id.example", subject, "bob", "", "", ("team",), False, None)
            for subject in ("first", "second")
        ]
        for instance, person in ((one, who[0]), (two, who[1])):
            assert await instance.services.oidc.arrive(person, onboard_as="bob") is not None
        for _ in range(3):
            await one.hear(two, {})
            await two.hear(one, {})
        assert await one.says() == await two.says()
        for instance in (one, two):
            rows = await instance.db.read(lambda c: c.execute(select(t.user_identities)).all())
            assert [row.subject for row in rows] == ["first"]
        # A link, a source and its secret are carried, too.
        change = Change(configuration={**_PROVIDER, "client_secret": "Secret-12345"})
        await one.services.sources.add("corp", "oidc", change)
        await one.db.write(lambda c: identities.link(c, rows[0].user_id, "corp", "https://id.example", "x"))
        await two.hear(one, {})
        found = await two.services.sources.get("corp")
        assert found.values["client_secret"] == "Secret-12345"
        known = await two.db.read(lambda c: identities.find(c, "corp", "https://id.example", "x"))
        assert known is not None
    finally:
        await one.services.close()
        await two.services.close()


def test_what_a_peer_announced_is_known_before_its_content(template: Path, tmp_path: Path) -> None:
    """Its project is not empty, and a tag that is put over it is no conflict."""
    asyncio.run(_announced(template, tmp_path))


async def _announced(template: Path, folder: Path) -> None:
    a, b = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        await a.start()
        await b.start()
        await change(a, "project", "0", "0", contents)
        await b.hear(a, contents)
        project = await b.db.read(lambda c: project_by_name(c, PROJECTS[0]))
        assert project is not None
        assert await b.db.read(lambda c: not_deletable(c, project)) is None
        await change(a, "push", "0", "0", contents)
        assert await a.db.write(a.store.local.observe) is not None
        answer = await a.db.read(lambda c: a.store.entries.told(c, b.cursors["a"], 1000))
        told = [Told.of(item) for item in answer["entries"]]
        await b.db.write(lambda c: b.store.applier.take(c, told, "a"))
        assert await b.db.read(lambda c: not_deletable(c, project)) is not None
        # The content has not come, and somebody puts the tag on something else.
        other = _index("another")
        contents[digest_of(other)] = other
        await b.services.content.put_manifest(f"{PROJECTS[0]}/r", TAGS[0], other, INDEX)
        for _ in range(3):
            await a.hear(b, contents)
            await b.hear(a, contents)
        assert await a.says() == await b.says()
        for instance in (a, b):
            found = await instance.services.content.manifest(f"{PROJECTS[0]}/r", TAGS[0])
            assert found.digest == digest_of(other)
            assert not await instance.db.read(lambda c: c.execute(select(t.peer_conflicts)).all())
    finally:
        await a.services.close()
        await b.services.close()


def test_an_emptied_repository_exists_everywhere(template: Path, tmp_path: Path) -> None:
    """Also where what it held never came: at one that joins later."""
    asyncio.run(_emptied(template, tmp_path))


async def _emptied(template: Path, folder: Path) -> None:
    a, b = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        await a.start()
        await b.start()
        await change(a, "project", "0", "0", contents)
        await change(a, "push", "0", "0", contents)
        await change(a, "no manifest", "0", "0", contents)
        for _ in range(2):
            await b.hear(a, contents)
            await a.hear(b, contents)
        for instance in (a, b):
            project = await instance.db.read(lambda c: project_by_name(c, PROJECTS[0]))
            assert project is not None
            assert await instance.db.read(lambda c, p=project: not_deletable(c, p)) is not None  # type: ignore[misc]
        assert await a.says() == await b.says()
    finally:
        await a.services.close()
        await b.services.close()


@pytest.mark.parametrize("first", ["the index", "the deletion", "both"])
@pytest.mark.parametrize("older", ["the index", "the deletion"])
def test_an_index_keeps_its_child_in_every_order(
    template: Path, tmp_path: Path, first: str, older: str
) -> None:
    asyncio.run(_index_and_child(template, tmp_path, first, older))


async def _index_and_child(template: Path, folder: Path, first: str, older: str) -> None:
    a, b = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    child = _index("child")
    repository = f"{PROJECTS[0]}/r"
    try:
        await a.start()
        await b.start()
        await change(a, "project", "0", "0", contents)
        contents[digest_of(child)] = child
        await a.services.content.put_manifest(repository, digest_of(child), child, INDEX)
        await b.hear(a, contents)
        # The link is cut: one pushes an index that names the child, the other deletes the child.
        steps = [(b, "index"), (a, "no child")]
        for instance, action in steps if older == "the index" else reversed(steps):
            await change(instance, action, "0", "0", contents)
            await instance.db.write(instance.store.local.observe)
        if first == "the index":
            await a.hear(b, contents)
        elif first == "the deletion":
            await b.hear(a, contents)
        else:
            await asyncio.gather(a.hear(b, contents), b.hear(a, contents))
        for _ in range(3):
            await a.hear(b, contents)
            await b.hear(a, contents)
        for instance in (a, b):
            index = await instance.services.content.manifest(repository, TAGS[0])
            for item in json.loads(index.payload)["manifests"]:
                await instance.services.content.manifest(repository, item["digest"])
        assert await a.says() == await b.says()
    finally:
        await a.services.close()
        await b.services.close()


def test_an_old_push_keeps_its_project(template: Path, tmp_path: Path) -> None:
    asyncio.run(_push_and_no_project(template, tmp_path))


async def _push_and_no_project(template: Path, folder: Path) -> None:
    a, b = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        await a.start()
        await b.start()
        await change(a, "project", "0", "0", contents)
        await b.hear(a, contents)
        # Acknowledged before the project was deleted, where nobody knew of it.
        await change(b, "push", "0", "0", contents)
        await b.db.write(b.store.local.observe)
        await change(a, "no project", "0", "0", contents)
        for _ in range(3):
            await b.hear(a, contents)
            await a.hear(b, contents)
        for instance in (a, b):
            assert await instance.services.content.manifest(f"{PROJECTS[0]}/r", TAGS[0])
        # What both know of goes at both, an index and its child in one exchange.
        await change(a, "index", "0", "1", contents)
        await b.hear(a, contents)
        await a.db.write(_empty)
        for _ in range(3):
            await b.hear(a, contents)
            await a.hear(b, contents)
        assert await a.says() == await b.says()
        assert not [key for key in await b.says() if key[0] in ("manifest", "tag", "repository")]
    finally:
        await a.services.close()
        await b.services.close()


def _empty(connection: Connection) -> None:
    connection.execute(delete(t.tags))
    connection.execute(delete(t.manifests))
    connection.execute(delete(t.repositories))


# An administrator does it at one side; at the other the user, a browser and a robot's owner change theirs la
@pytest.mark.parametrize("done", ["demoted", "deleted", "signed out", "robot deleted", "robot disabled"])
def test_who_is_cut_off_does_not_come_back(template: Path, tmp_path: Path, done: str) -> None:
    asyncio.run(_cut_off(template, tmp_path, done))


async def _cut_off(template: Path, folder: Path, done: str) -> None:
    a, b = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    now = {"created_at": 5.0, "updated_at": 6.0}

    def filled(connection: Connection) -> None:
        values = {"username": "u1", "password_hash": "old", "sysadmin": True, "email": "u1@example.test"}
        key = connection.execute(insert(t.users).values(**values, **now)).inserted_primary_key
        assert key is not None
        session = {"id_hash": "s", "user_id": key[0], "created_at": 5.0, "seen_at": 5.0}
        connection.execute(insert(t.sessions).values(**session, expires_at=9e9, data={}))
        robot = {"name": "r", "secret_hash": "old", "permissions": [], "duration": -1, "expires_at": -1}
        connection.execute(insert(t.robots).values(**robot, disabled=False, **now))

    at_a = {
        "demoted": update(t.users).where(t.users.c.username == "u1").values(sysadmin=False),
        "deleted": delete(t.users).where(t.users.c.username == "u1"),
        "signed out": delete(t.sessions),
        "robot deleted": delete(t.robots),
        "robot disabled": update(t.robots).values(disabled=True),
    }

    def at_b(connection: Connection) -> None:
        profile = {"password_hash": "new", "realname": "U. One"}
        connection.execute(update(t.users).where(t.users.c.username == "u1").values(**profile))
        connection.execute(update(t.sessions).values(seen_at=5000.0))
        connection.execute(update(t.robots).values(secret_hash="new", description="of CI"))

    def found(connection: Connection) -> dict[str, Any]:
        user = select(t.users).where(t.users.c.username == "u1")
        return {
            name: connection.execute(query).mappings().first()
            for name, query in (("user", user), ("session", select(t.sessions)), ("robot", select(t.robots)))
        }

    try:
        await a.start()
        await b.start()
        await a.db.write(filled)
        await b.hear(a, contents)
        assert (await b.db.read(found))["user"]["password_hash"] == "old"
        await a.db.write(lambda c: c.execute(at_a[done]))
        await a.db.write(a.store.local.observe)
        await b.db.write(at_b)
        for _ in range(3):
            await a.hear(b, contents)
            await b.hear(a, contents)
        assert await a.says() == await b.says()
        for instance in (a, b):
            here = await instance.db.read(found)
            match done:
                case "demoted":
                    assert (here["user"]["sysadmin"], here["user"]["password_hash"]) == (False, "new")
                    assert here["user"]["realname"] == "U. One"
                case "deleted":
                    assert here["user"] is None
                case "signed out":
                    assert here["session"] is None
                case "robot deleted":
                    assert here["robot"] is None
                case "robot disabled":
                    assert here["robot"]["disabled"]
                    assert (here["robot"]["secret_hash"], here["robot"]["description"]) == ("new", "of CI")
            assert not await instance.db.read(lambda c: c.execute(select(t.peer_pending)).all())
    finally:
        await a.services.close()
        await b.services.close()


def test_nobody_judges_what_is_still_to_come(template: Path, tmp_path: Path) -> None:
    asyncio.run(_to_come(template, tmp_path))


async def _to_come(template: Path, folder: Path) -> None:
    one, two = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        for instance in (one, two):
            await instance.start()
        await change(one, "project", "0", "0", contents)
        await change(one, "push", "0", "0", contents)
        await change(one, "push", "0", "1", contents)
        await one.db.write(one.store.local.observe)
        # The manifests are brought, their tags are told last.
        answer = await one.db.read(lambda c: one.store.entries.told(c, 0, 1000))
        told = [Told.of(item) for item in answer["entries"]]
        await two.db.write(lambda c: two.store.applier.take(c, told, "a"))
        repository = f"{PROJECTS[0]}/r"
        pushed = {
            item.entry.key: item.document["pushed_at"]
            for item in told
            if item.entry.kind == "manifest" and item.document is not None
        }
        for digest, payload in contents.items():
            await two._bring(repository, digest, payload, pushed[dump([repository, digest])])

        async def collect() -> int:
            report = await gc.collect(
                two.db, two.services.storage, grace_seconds=0, upload_seconds=3600, delete_untagged=True
            )
            return report.manifests

        def shown(connection: Connection) -> int:
            query = select(t.repositories.c.id).where(t.repositories.c.name == repository)
            return len(retention.candidates(connection, connection.execute(query).scalar_one()))

        assert await collect() == 0
        assert await two.db.read(shown) == 0
        await two.db.write(two.store.applier.retry)
        assert await two.db.read(shown) == len(contents)
        assert await collect() == 0
        await one.hear(two, contents)
        assert await one.says() == await two.says()
    finally:
        await one.services.close()
        await two.services.close()


def test_one_of_the_peers_runs_what_one_is_to_run(template: Path, tmp_path: Path) -> None:
    asyncio.run(_leads(template, tmp_path))


async def _leads(template: Path, folder: Path) -> None:
    instance = Instance(folder, template, 1)
    try:
        await instance.start()

        def fired(connection: Connection) -> int:
            for name in ("retention:1", "system:gc"):
                _set(
                    connection,
                    t.job_schedules,
                    {
                        "cron": "0 0 0 * * *",
                        "kind": "gc",
                        "args": {},
                        "next_at": 1.0,
                        "enabled": True,
                        "created_at": 1.0,
                        "updated_at": 1.0,
                    },
                    name=name,
                )
            connection.execute(delete(t.jobs))
            claims.fire_schedules(connection, leads_elsewhere)
            return len(connection.execute(select(t.jobs.c.id)).all())

        def link(name: str, seen_at: float, error: str | None) -> Callable[[Connection], None]:
            values = {"name": name, "seen_at": seen_at, "error": error}
            return lambda c: _set(c, t.peer_links, values, url="http://peer")

        now = time.time()
        assert await instance.db.write(fired) == 2
        for name, seen_at, error, expected in (
            ("a", now, None, 1),
            ("c", now, None, 2),
            ("a", now, "away", 2),
            ("a", now - 1000, None, 2),
        ):
            await instance.db.write(link(name, seen_at, error))
            assert await instance.db.write(fired) == expected, (name, error)
    finally:
        await instance.services.close()


def test_restored_from_a_backup(template: Path, tmp_path: Path) -> None:
    asyncio.run(_restored(template, tmp_path))


async def _restored(template: Path, folder: Path) -> None:
    one, two = (Instance(folder, template, number) for number in (0, 1))
    contents: dict[str, bytes] = {}
    try:
        for instance in (one, two):
            await instance.start()
        await change(one, "user", "0", "0", contents)
        await two.hear(one, contents)
        told = two.cursors["a"]
        # A dump leaves this instance's row out: what comes then has higher numbers, under a new epoch.
        assert not {"peer_state", "peer_links", "change_log"} & {table.name for table in dumped()}
        old = await one.db.read(lambda c: c.execute(select(t.peer_state.c.epoch)).scalar())
        await one.db.write(lambda c: c.execute(delete(t.peer_state)))
        await one.start()
        await change(one, "user", "0", "1", contents)
        await two.hear(one, contents)
        assert two.cursors["a"] > told
        assert await one.db.read(lambda c: c.execute(select(t.peer_state.c.epoch)).scalar()) != old
        assert ("user", dump(["u2"])) in await two.says()
    finally:
        await one.services.close()
        await two.services.close()


def test_another_master_key_is_no_change(template: Path, tmp_path: Path) -> None:
    asyncio.run(_another_master(template, tmp_path))


async def _another_master(template: Path, folder: Path) -> None:
    one = Instance(folder, template, 0)
    new = secrets.token_bytes(32)
    (folder / "old.key").write_text(MASTER)
    contents: dict[str, bytes] = {}
    try:
        await one.start()
        await change(one, "user", "0", "0", contents)
        await one.db.write(one.store.local.observe)
        told = await one.db.read(lambda c: one.store.entries.told(c, 0, 1000))
    finally:
        await one.services.close()
    settings_ = Settings(
        data_dir=folder / "0",
        master_key=base64.b64encode(new).decode(),
        other_master_key_file=folder / "old.key",
    )
    services = open_process(settings_)
    services.keys.rotation.rotate_master(new)
    try:
        [in_use, *_] = services.keys.masters.peer_keys("request")
        question = wire.sign(services.keys, in_use, "GET", "b", "/x", {})
        store = Store(Context(services.keys, services.jobs), services.content, "a")

        def differing(connection: Connection) -> set[tuple[str, str]]:
            return {key for kind in KINDS.values() for key in store.local.differing(connection, kind)}

        await services.db.write(store.entries.prepare)
        assert ("user", dump(["u1"])) in await services.db.read(differing)
        await services.db.write(lambda c: store.local.check(c, differing(c)))
        assert not await services.db.read(differing)
        after = await services.db.read(lambda c: store.entries.told(c, 0, 1000))
        versions = [
            {(e["kind"], e["key"]): e["version"] for e in item["entries"] if e["kind"] != "key"}
            for item in (told, after)
        ]
        assert versions[0] == versions[1]
        # Who still has the old key only as the other one takes what is sent under the new one.
        assert wire.signed(services.keys, "GET", "b", "/x", question.claims) is not None
        assert len(services.keys.masters.peer_keys("message")) == 2
    finally:
        await services.close()
