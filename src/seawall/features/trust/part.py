"""What trust adds to a process."""

from __future__ import annotations

from seawall.features.trust.exempt import Exemptions
from seawall.features.trust.hook import TrustHook
from seawall.features.trust.service import TrustService
from seawall.registry.part import ContentPart


def part(trust: TrustService, exemptions: Exemptions) -> ContentPart:
    """Refuse pulls of unsigned artifacts where the project wants signatures."""
    return ContentPart(hooks=(TrustHook(trust, exemptions),))
