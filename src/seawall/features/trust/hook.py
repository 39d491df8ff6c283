"""The pull policy: projects that want signed artifacts get no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seawall.features.trust.exempt import Exemptions
from seawall.features.trust.service import COSIGN, NOTATION, TrustService
from seawall.kernel.errors import RegistryError
from seawall.registry.hooks import ContentHook

if TYPE_CHECKING:
    from seawall.registry.model import StoredManifest


class TrustHook(ContentHook):
    """Refuses, before a pull, what is not signed."""

    policies = (COSIGN, NOTATION)

    def __init__(self, trust: TrustService, exemptions: Exemptions) -> None:
        self._trust = trust
        self._exemptions = exemptions

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """Refuse what is not signed. Raises RegistryError DENIED (412)."""
        message = await self._trust.refusal(repository, manifest.digest)
        if message is None or await self._exemptions.exempt(repository, manifest, reference):
            return
        raise RegistryError("DENIED", message, status=412)
