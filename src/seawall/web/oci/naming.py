"""What a request calls a repository, and what that is called here."""

from __future__ import annotations

from typing import Protocol


class Naming(Protocol):
    """Knows the repositories that a mirror's clients mean. The mirror of the proxy cache is one."""

    @property
    def plain(self) -> bool:
        """Whether a name means itself, unless the request has a namespace."""
        ...

    def alias(self, host: str) -> str | None:
        """The project that a Host header chooses, None for none."""
        ...

    def alias_host(self, host: str, usual: str) -> str:
        """The host of URLs that lead back to an alias; `usual` is the one that other clients ask."""
        ...

    async def repository(self, name: str, host: str, namespaces: list[str]) -> str:
        """The repository that a name means at a host, with these namespaces (`ns`). Raises RegistryError."""
        ...
