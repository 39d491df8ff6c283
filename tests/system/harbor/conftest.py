"""One registry for all cases of Harbor's API tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import resting
from tests.support.harbor.caller import Caller
from tests.support.registry import Registry
from tests.support.scan.advisories import ev, record
from tests.support.scan.content import CRITICAL, advisories


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with advisories of a critical, a high, a medium and a low fault, whose GC has no grace."""
    root = tmp_path_factory.mktemp("harbor")
    server = Registry(
        root / "data",
        {
            "SEAWALL_HTTP__WORKERS": "1",
            "SEAWALL_GC__GRACE_MINUTES": "0",
        },
    )
    server.start()
    try:
        grades = {"HIGH": "C:H/I:N/A:N", "MEDIUM": "C:L/I:N/A:N"}
        faults = [
            record(
                "CVE-2024-1",
                "left-pad",
                "npm",
                ev(("introduced", "0"), ("fixed", "2.0.0")),
                severity=CRITICAL,
            )
        ]
        for number, (package, impact) in enumerate(
            (("mid-pad", grades["HIGH"]), ("right-pad", grades["MEDIUM"])), 2
        ):
            score = [{"type": "CVSS_V3", "score": f"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/{impact}"}]
            faults.append(
                record(f"CVE-2024-{number}", package, "npm", ev(("introduced", "0")), severity=score)
            )
        low = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]
        faults.append(record("CVE-2024-4", "low-pad", "npm", ev(("introduced", "0")), severity=low))
        advisories(server, root / "advisories", *faults)
        resting.keep(server, "site")
        yield server
    finally:
        resting.forget(server)
        server.close()


@pytest.fixture
def admin(site: Registry) -> Iterator[Caller]:
    """The administrator."""
    caller = Caller(site)
    yield caller
    caller.http.close()
