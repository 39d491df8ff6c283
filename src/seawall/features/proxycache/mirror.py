"""This registry as a mirror: which repository a request means whose path names no project of this registry.

containerd and BuildKit ask a mirror for `/v2/library/alpine/...?ns=docker.io`; Docker asks it for the path
alone. The namespace is a key into the proxy-cache projects that an administrator has made, and never an
address to connect to. A host alias chooses a project by the host or the port that a client has connected to.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from seawall.features.replication.upstreams import ProxyRow, proxies
from seawall.infra.db import Database
from seawall.infra.settings import MirrorSettings
from seawall.kernel.errors import RegistryError

HUB = "docker.io"
# What Docker Hub is called: in references, at its API, and at its registry.
_HUB_NAMES = {HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}
# How long a process remembers which proxy-cache projects there are.
_TABLE_SECONDS = 2.0
_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?")


def namespace_of(text: str) -> str:
    """A registry's name as it is compared: `docker.io`, `quay.io`, `localhost:5000`."""
    name = text.lower().removesuffix(":443").rstrip(".")
    return HUB if name in _HUB_NAMES else name


@dataclass(frozen=True, slots=True)
class Table:
    """The proxy-cache projects. `chosen`: registry and the project that answers for it."""

    # Project and the registry behind it.
    upstreams: dict[str, str]
    chosen: dict[str, str]

    @classmethod
    def of(cls, rows: list[ProxyRow], settings: MirrorSettings) -> Table:
        """The table of all proxy-cache projects, the oldest first, and of what the settings say."""
        upstreams = {row.project: _upstream(row) for row in rows}
        chosen = {namespace_of(name): project for name, project in settings.namespaces.items()}
        for project, namespace in upstreams.items():
            chosen.setdefault(namespace, project)
        return cls(upstreams, chosen)

    def is_hub(self, project: str) -> bool:
        """Whether a project stands before Docker Hub, or answers for it."""
        return self.upstreams.get(project) == HUB or self.chosen.get(HUB) == project


class Mirror:
    """Finds the repository that a request means."""

    def __init__(self, db: Database, settings: MirrorSettings) -> None:
        self._db = db
        self._settings = settings
        self._known: tuple[float, Table] | None = None

    async def table(self) -> Table:
        """The proxy-cache projects, up to two seconds old."""
        if self._known is None or time.monotonic() >= self._known[0]:
            found = Table.of(await self._db.point(proxies), self._settings)
            self._known = (time.monotonic() + _TABLE_SECONDS, found)
        return self._known[1]

    @property
    def plain(self) -> bool:
        """See Naming.plain."""
        return not self._settings.hosts

    def alias(self, host: str) -> str | None:
        """The project that a Host header chooses: by host and port, by host, by port; None for none."""
        hosts = self._settings.hosts
        if not hosts:
            return None
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return None
        name, port = match["name"].rstrip("."), match["port"] or ""
        return hosts.get(name + port) or hosts.get(name) or hosts.get(port)

    def alias_host(self, host: str, usual: str) -> str:
        """The host of an alias's own URLs: what a client asked, if the settings have it, else `usual`'s.

        An alias that is a port says nothing of the host, and a Host header can be anybody's invention.
        `usual`: the host that clients usually ask, with or without a port.
        """
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return usual
        name, port = match["name"].rstrip("."), match["port"] or ""
        if {name, name + port} & self._settings.hosts.keys():
            return name + port
        return re.sub(r":\d+$", "", usual) + port

    async def repository(self, name: str, host: str, namespaces: list[str]) -> str:
        """The repository that `name`, the name in a path or a scope, means.

        `host`: the Host header. `namespaces`: values of the parameter `ns`. Raises RegistryError: 400 for
        several namespaces; NAME_UNKNOWN where host and namespace disagree, or the settings name a project
        that is not a proxy-cache project.
        """
        if len(set(namespaces)) > 1:
            raise RegistryError("UNSUPPORTED", "ns is given more than once", status=400)
        alias = self.alias(host)
        namespace = namespace_of(namespaces[0]) if namespaces else ""
        if alias is not None:
            return await self._at_alias(name, alias, namespace)
        return await self._in_namespace(name, namespace) if namespace else name

    async def _at_alias(self, name: str, project: str, namespace: str) -> str:
        first, slash, _ = name.partition("/")
        if not namespace and slash:
            return name if first == project else f"{project}/{name}"
        table = await self.table()
        behind = table.upstreams.get(project)
        # Who asks for one registry must not get another one's content under the same name.
        if (
            behind is not None
            and namespace in table.chosen
            and namespace != behind
            and table.chosen[namespace] != project
        ):
            raise RegistryError("NAME_UNKNOWN", f"this host is not the mirror of {namespace}")
        if slash and first == project:
            return name
        return f"{project}/library/{name}" if not slash and table.is_hub(project) else f"{project}/{name}"

    async def _in_namespace(self, name: str, namespace: str) -> str:
        table = await self.table()
        first, slash, rest = name.partition("/")
        # Only administrators make proxy-cache projects, and the settings are theirs. Any other project must
        # not answer for a registry just because somebody has given it the name of a namespace there.
        if slash and (first in table.upstreams or first in self._settings.paths):
            return name
        project = table.chosen.get(namespace)
        if project is None:
            return name
        if project not in table.upstreams:
            raise RegistryError(
                "NAME_UNKNOWN", f"{namespace} has no proxy-cache project here: {project} is none"
            )
        if namespace == HUB and not slash:
            return f"{project}/library/{name}"
        if namespace == HUB and "/" in rest:
            # Names at Docker Hub have two parts, so the first of three is a project.
            return name
        return f"{project}/{name}"


def _upstream(row: ProxyRow) -> str:
    if row.type == "docker-hub":
        return HUB
    parts = urlsplit(row.url)
    host = parts.netloc.rpartition("@")[2]
    return namespace_of(host.removesuffix(":80") if parts.scheme == "http" else host)
