"""The pull policy: projects that want signed artifacts get no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seawall.features.trust.service import TrustService
from seawall.kernel.context import actor
from seawall.kernel.errors import RegistryError
from seawall.registry.hooks import ContentHook

if TYPE_CHECKING:
    from seawall.access.service import AuthService
    from seawall.registry.model import StoredManifest

# Tools that sign must read what they are to sign. Harbor lets them, for callers who may push; so do we.
_SIGNERS = ("cosign/", "notation/")


class TrustHook(ContentHook):
    """Refuses, before a pull, what is not signed."""

    def __init__(self, trust: TrustService, auth: AuthService) -> None:
        self._trust = trust
        self._auth = auth

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """Refuse what is not signed. Raises RegistryError DENIED (412)."""
        message = await self._trust.refusal(repository, manifest.digest)
        if message is None or await self._signing(repository):
            return
        raise RegistryError("DENIED", message, status=412)

    async def _signing(self, repository: str) -> bool:
        who = actor.get()
        if not self._auth.required or not who.name or not who.agent.startswith(_SIGNERS):
            return False
        return "push" in await self._auth.actions(await self._auth.user(who.name), repository)
