"""Manifests found by tag or digest, one at a time or for all requests that wait together (PostgreSQL).

The bytes of a manifest never change, so those that were sent lately are kept in memory. Whether a tag still
names them, and whether the repository still has them, is asked each time, in the same statement; the database
then leaves out the bytes that are here.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, null, select

from seawall.access.projects import holds_back
from seawall.infra.db import Database
from seawall.infra.db.batch import rows
from seawall.infra.db.gather import Gatherer, for_each
from seawall.kernel.errors import RegistryError
from seawall.registry.hooks import Hooks
from seawall.registry.model import StoredManifest
from seawall.registry.tables import manifest_payloads, manifests, repositories, tags

# Bytes of manifests that a process keeps, and the number of tags whose last manifest it remembers.
_MEMORY = 16 * 1024 * 1024
_TAGS = 16_384

# (repository, tag or digest)
Key = tuple[str, str]
# digest, media type, bytes: all None without the manifest; whether a policy of the project is on.
Row = tuple[str | None, str | None, bytes | None, bool]


class FoundManifests:
    """Manifests by tag and by digest, asked for together."""

    def __init__(self, db: Database, hooks: Hooks) -> None:
        """`hooks`: their policies are looked for in the projects of what is found."""
        self._hooks = hooks
        self._by_tag: Gatherer[Key, Row] = Gatherer(db, self._tags)
        self._by_digest: Gatherer[Key, Row] = Gatherer(db, self._digests)
        self._bytes: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        # What a tag named when it was last asked for: a guess, which the database confirms or not.
        self._named: OrderedDict[Key, str] = OrderedDict()

    async def get(self, name: str, reference: str) -> StoredManifest:
        """See `find_manifest`."""
        found = self._by_digest if ":" in reference else self._by_tag
        return _checked(await found.get((name, reference)), name, reference)

    def _digests(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Row]:
        return self._look(connection, keys, tag=False)

    def _tags(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Row]:
        return self._look(connection, keys, tag=True)

    def _look(self, connection: Connection, keys: Sequence[Key], *, tag: bool) -> dict[Key, Row]:
        one, several = _queries(self._hooks.policies, tag)
        # Threads of several connections do this at once; each step on a dictionary is whole.
        guesses = [key[1] if ":" in key[1] else self._named.get(key, "") for key in keys]
        held = {guess: data for guess in guesses if (data := self._bytes.get(guess)) is not None}
        asked = [(*key, guess if guess in held else "") for key, guess in zip(keys, guesses, strict=True)]
        answers: Iterable[Any]
        if len(keys) == 1:
            parameters: dict[str, Any] = dict(zip(_PARAMETERS, asked[0], strict=True))
            answers = ((1, *row) for row in connection.execute(one, parameters))
        else:
            lists = (list(values) for values in zip(*asked, strict=True))
            parameters = {f"all_{name}": values for name, values in zip(_PARAMETERS, lists, strict=True)}
            answers = connection.execute(several, parameters)
        found: dict[Key, Row] = {}
        for number, digest, media_type, payload, guarded in answers:
            key = keys[number - 1]
            data = bytes(payload) if payload is not None else held.get(digest or "")
            found[key] = (digest, media_type, data, guarded)
            if digest is not None and data is not None:
                self._keep(key, digest, data)
        return found

    def _keep(self, key: Key, digest: str, data: bytes) -> None:
        with self._lock:
            if ":" not in key[1]:
                self._named[key] = digest
                if len(self._named) > _TAGS:
                    self._named.popitem(last=False)
            if digest in self._bytes:
                self._bytes.move_to_end(digest)
            else:
                self._bytes[digest] = data
                self._size += len(data)
            while self._size > _MEMORY:
                self._size -= len(self._bytes.popitem(last=False)[1])


def find_manifest(
    connection: Connection, name: str, reference: str, policies: tuple[str, ...]
) -> StoredManifest:
    """The manifest that a tag or digest names in the repository called `name`.

    `policies`: those of the hooks. Raises NAME_UNKNOWN, MANIFEST_UNKNOWN.
    """
    query = _queries(policies, ":" not in reference)[0]
    found = rows(connection, query, {"b_name": name, "b_reference": reference, "b_held": ""})
    return _checked(found[0] if found else None, name, reference)


def _checked(row: Any, name: str, reference: str) -> StoredManifest:
    if row is None:
        raise RegistryError("NAME_UNKNOWN", detail={"name": name})
    if row[2] is None:
        raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference})
    return StoredManifest(row[0], row[1], bytes(row[2]), bool(row[3]))


@functools.lru_cache(maxsize=64)
def _queries(policies: tuple[str, ...], tag: bool) -> tuple[Select[Any], Select[Any]]:
    """The query for a manifest by tag or by digest, and that for several."""
    if tag:
        wanted: ColumnElement[bool] = manifests.c.id == tags.c.manifest_id
    else:
        mine = manifests.c.repository_id == repositories.c.id
        wanted = and_(mine, manifests.c.digest == bindparam("b_reference"))
    query = _found_by(wanted, policies, tag=tag)
    return query, for_each(query, *_PARAMETERS)


def _found_by(wanted: ColumnElement[bool], policies: tuple[str, ...], *, tag: bool) -> Select[Any]:
    payload = (
        select(manifest_payloads.c.payload)
        .where(manifest_payloads.c.manifest_id == manifests.c.id)
        .correlate(manifests)
        .scalar_subquery()
    )
    # Bytes that the process has are not read.
    unless_held = case((manifests.c.digest == bindparam("b_held"), null()), else_=payload)
    guarded = holds_back(repositories.c.project_id, policies).label("guarded")
    query = select(manifests.c.digest, manifests.c.media_type, unless_held.label("payload"), guarded)
    query = query.select_from(repositories)
    if tag:
        mine = and_(tags.c.repository_id == repositories.c.id, tags.c.name == bindparam("b_reference"))
        query = query.outerjoin(tags, mine)
    query = query.outerjoin(manifests, wanted)
    return query.where(repositories.c.name == bindparam("b_name"))


_PARAMETERS = ("b_name", "b_reference", "b_held")
