"""What a pair of sites adds to a process."""

from __future__ import annotations

from seawall.availability.sites.service import DrService
from seawall.infra.part import Part


def part(dr: DrService, *, leading: bool) -> Part:
    """Take part in the site's work. `leading`: this process may lead the site (a server process)."""
    return Part(background=(dr.pair.work.run,) if leading else (), closers=(dr.close,))
