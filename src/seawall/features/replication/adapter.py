"""One registry of any kind, as replication and the proxy cache see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.endpoint import RemoteEndpoint
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.login import Credentials
from seawall.features.replication.session import Patience
from seawall.infra.addresses import networks
from seawall.kernel import patterns


@dataclass(slots=True)
class RemoteRegistry:
    """A registry endpoint with its secret in clear text; never shown or logged.

    `token_origin`: see `replication.login.Login`.
    """

    id: int
    name: str
    type: str
    url: str
    username: str = ""
    secret: str = field(default="", repr=False)
    insecure: bool = False
    ca_certificate: str | None = None
    token_origin: str | None = None
    # Networks of ours that the registry may send us on to, for a blob store of its own for one.
    internal_networks: tuple[str, ...] = ()


class Adapter:
    """One registry of any kind."""

    def __init__(
        self, registry: RemoteRegistry, limiter: Limiter | None = None, patience: Patience | None = None
    ) -> None:
        self.registry = registry
        self.client = RegistryClient(
            self._registry_url(),
            self._credentials(),
            insecure=registry.insecure,
            ca_certificate=registry.ca_certificate,
            limiter=limiter,
            single_post=registry.type == "seawall",
            stay=registry.type in ("harbor", "seawall"),
            patience=patience,
            token_origin=registry.token_origin,
            allow=networks(registry.internal_networks),
        )
        # The registry's API may have another host than the registry.
        self.client.session.reach(registry.url)
        self.endpoint = RemoteEndpoint(self.client)

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    async def ping(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        await self.client.ping()

    def repositories(self, pattern: str) -> AsyncIterator[str]:
        """Names of repositories that match `pattern`."""
        return self._repositories(pattern)

    async def labels(self, repository: str, tag: str) -> set[str]:
        """Names of the labels of a tagged artifact; none where the registry has no labels."""
        del repository, tag
        return set()

    async def prepare(self, repository: str) -> None:
        """Make what must be there before a push."""

    async def delete(self, repository: str, reference: str, origin: str = "") -> bool:
        """Delete a tag or a manifest; False when it is unknown. `origin`: see `replication.origin`."""
        return await self.client.delete_manifest(repository, reference, origin)

    async def _repositories(self, pattern: str) -> AsyncIterator[str]:
        exact = patterns.literals(pattern)
        if exact is not None:
            # Many registries have no catalog, and none is needed for names that are known.
            for name in exact:
                yield name
            return
        async for name in self._all(pattern):
            if patterns.matches(pattern, name):
                yield name

    async def _all(self, pattern: str) -> AsyncIterator[str]:
        del pattern
        async for name in self.client.catalog():
            yield name

    def _registry_url(self) -> str:
        return self.registry.url

    def _credentials(self) -> Credentials:
        return Credentials(self.registry.username, self.registry.secret)
