"""Virtual projects: an ordered list of projects, hosted and proxied, that is pulled from as one.

A virtual project holds nothing. Its list is in two of its metadata values: `virtual_members` (names of
projects, with commas; it may be empty) and `virtual_order`. What is pulled from it is pulled from one of the
members, with the rights, gates and quotas that hold there.

A name that a hosted member has is never asked of an upstream, even where the caller may not pull it: else
somebody who can push to an upstream could put an image of theirs in place of one of ours ("dependency
confusion").
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from seawall.access import projects as access
from seawall.access.access import Project, project_by_name
from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.kernel.errors import InvalidError, PreconditionError, RegistryError, UnavailableError
from seawall.registry.elsewhere import Elsewhere
from seawall.registry.lookups import has_repositories
from seawall.registry.tables import REPOSITORY_EXISTS, repositories, tags

MEMBERS = "virtual_members"
ORDER = "virtual_order"
_NEWEST = "newest"
# How long a process remembers which virtual projects there are where commits cannot be seen cheaply.
_TABLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual project's members that exist, in their order. `newest`: the newest tag wins."""

    hosted: tuple[str, ...]
    proxied: tuple[str, ...]
    newest: bool

    @property
    def members(self) -> tuple[str, ...]:
        """All of them."""
        return self.hosted + self.proxied


@dataclass(frozen=True, slots=True)
class Sources:
    """Repositories that a name in a virtual project may mean, in the order in which they are to be asked.

    `hosted`: they are of hosted members, which have the name. `together`: a list of tags is of all of them;
    else of the first that has the name.
    """

    names: tuple[str, ...]
    hosted: bool
    together: bool


class VirtualProjects:
    """Knows the virtual projects."""

    def __init__(self, db: Database, elsewhere: Elsewhere) -> None:
        self._db = db
        self._elsewhere = elsewhere
        # The change token, or until when (monotonic).
        self._known: tuple[float, dict[str, Virtual]] | None = None

    async def of(self, project: str) -> Virtual | None:
        """The virtual project of that name, up to five seconds old; None for an ordinary one."""
        known, token = self._known, self._db.change_token()
        if known is None or (known[0] != token if token is not None else time.monotonic() >= known[0]):
            mark = token if token is not None else time.monotonic() + _TABLE_SECONDS
            known = self._known = (mark, await self._db.point(_table))
        return known[1].get(project)

    async def sources(self, virtual: Virtual, path: str, tag: str | None) -> Sources:
        """Where `path` (a repository's name without its project) may be; `tag`: what is wanted of it.

        Raises UnavailableError while a peer that is away may have the name as a hosted one.
        """
        names = [f"{member}/{path}" for member in virtual.hosted]
        proxied = [f"{member}/{path}" for member in virtual.proxied]
        have = await self._db.read(lambda c: _existing(c, names))
        if not have and names and proxied:
            have = await self._new_at_peers(names, proxied)
        hosted = [name for name in names if name in have]
        if not hosted:
            return Sources(tuple(proxied), False, False)
        if not virtual.newest:
            return Sources((hosted[0],), True, False)
        if tag is not None:
            pushed = await self._db.read(lambda c: _pushed(c, hosted, tag))
            # Of equally old ones the first.
            hosted = sorted(pushed, key=lambda name: (-pushed[name], names.index(name))) or hosted
        return Sources(tuple(hosted), True, True)

    async def _new_at_peers(self, names: list[str], proxied: list[str]) -> set[str]:
        """Which hosted names exist once peers were asked: an upstream gets none that a peer has already."""
        announced = await self._elsewhere.announced(names)
        sure = not announced
        if not announced and not await self._db.read(lambda c: _existing(c, proxied)):
            # A name that nobody has asked for here. Others came from the upstream before, and go on.
            sure = await self._elsewhere.catch_up()
            sure = not await self._elsewhere.announced(names) and sure
        have = await self._db.read(lambda c: _existing(c, names))
        if not have and not sure:
            raise UnavailableError("a peer may have this name as a hosted one, and cannot be asked now")
        return have


def set_metadata(connection: Connection, project: Project, values: Mapping[str, str]) -> None:
    """Set metadata values of a project. Raises InvalidError, PreconditionError."""
    before = access.settings_of(connection, project.id)
    if MEMBERS in values:
        _check(connection, project, access.names_in(values[MEMBERS]))
        # Of pushes that never ended: one more could end in them.
        connection.execute(
            delete(repositories).where(repositories.c.project_id == project.id, ~REPOSITORY_EXISTS)
        )
    access.set_metadata(connection, project, values)
    _check_gates(before, access.settings_of(connection, project.id))


def _check_gates(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise PreconditionError where somebody would rely on a pull policy that is never asked."""
    made = MEMBERS not in before
    idle = [name for name in access.GATES if now.get(name) == "true" and (made or before.get(name) != "true")]
    if MEMBERS in now and idle:
        raise PreconditionError(
            f"{', '.join(idle)} holds nothing back in a virtual project: set it in its members, "
            "whose policies count"
        )


def is_virtual(connection: Connection, project_id: int) -> bool:
    """Whether the project is a virtual one."""
    return MEMBERS in access.settings_of(connection, project_id)


def refusal(repository: str) -> RegistryError:
    """What a push to a virtual project is answered with."""
    name = repository.partition("/")[0]
    message = f"{name} is a virtual project: push to one of its members"
    return RegistryError("DENIED", message, status=405)


def named(connection: Connection, name: str) -> bool:
    """Whether a project of that name is a virtual one."""
    return name in access.values_of(connection, MEMBERS)


def refuse(connection: Connection, project_id: int, what: str) -> None:
    """Raise PreconditionError for rules about content in a virtual project. `what`: the rules, in plural."""
    if is_virtual(connection, project_id):
        raise PreconditionError(
            f"{what} do nothing in a virtual project, which holds nothing: give them to its members"
        )


def forget(connection: Connection, project: Project) -> None:
    """Take a project that goes out of every list: another one that gets its name is nobody's member."""
    for name, text in access.values_of(connection, MEMBERS).items():
        members = access.names_in(text)
        if project.name in members:
            left = [member for member in members if member != project.name]
            virtual = project_by_name(connection, name)
            assert virtual is not None
            # With nobody left it is a virtual one still, and takes no pushes.
            access.set_metadata(connection, virtual, {MEMBERS: ",".join(left)})


def _check(connection: Connection, project: Project, members: Sequence[str]) -> None:
    if project.registry_id is not None:
        raise InvalidError(f"project {project.name} is a proxy cache, so it cannot be a virtual one")
    if has_repositories(connection, project.id):
        raise InvalidError(f"project {project.name} has repositories, so it cannot be a virtual one")
    lists = access.values_of(connection, MEMBERS)
    for name, text in lists.items():
        if project.name in access.names_in(text) and name != project.name:
            raise InvalidError(f"project {project.name} is a member of {name}, so it cannot be a virtual one")
    known = access.ids_of(connection, members)
    for member in members:
        if member not in known:
            raise InvalidError(f"{MEMBERS}: project {member} does not exist")
        if member == project.name or member in lists:
            raise InvalidError(f"{MEMBERS}: project {member} is a virtual one")


def _table(connection: Connection) -> dict[str, Virtual]:
    lists = access.values_of(connection, MEMBERS)
    if not lists:
        return {}
    orders = access.values_of(connection, ORDER)
    wanted = {member for text in lists.values() for member in access.names_in(text)}
    query = select(projects.c.name, projects.c.registry_id).where(projects.c.name.in_(wanted))
    proxied = {row.name: row.registry_id is not None for row in connection.execute(query)}
    found = {}
    for name, text in lists.items():
        there = [member for member in access.names_in(text) if member in proxied]
        found[name] = Virtual(
            tuple(member for member in there if not proxied[member]),
            tuple(member for member in there if proxied[member]),
            orders.get(name) == _NEWEST,
        )
    return found


def _existing(connection: Connection, names: Sequence[str]) -> set[str]:
    query = select(repositories.c.name).where(repositories.c.name.in_(names), REPOSITORY_EXISTS)
    return set(connection.execute(query).scalars())


def _pushed(connection: Connection, names: Sequence[str], tag: str) -> dict[str, float]:
    """When the tag was pushed (Unix seconds), by the repositories that have it."""
    query = (
        select(repositories.c.name, tags.c.pushed_at)
        .join(tags, tags.c.repository_id == repositories.c.id)
        .where(repositories.c.name.in_(names), tags.c.name == tag)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
