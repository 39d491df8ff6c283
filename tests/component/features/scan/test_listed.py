"""Lists of artifacts by the results of their scans, and by signatures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from seawall.features.scan import listed
from seawall.features.scan.tables import scan_reports, scanners
from seawall.infra.db.listing import Page
from seawall.kernel.errors import InvalidError
from seawall.registry import artifact_lists
from seawall.registry.tables import repositories
from seawall.web.harbor.query import parse_q
from tests.support.lab import CONFIG, Lab, Run

REPOSITORY = "p/app"
OWN = "own"


def report(connection: Connection, digest: str, severity: str | None, scanner: str | None = None) -> None:
    """What a scan found; None: it has yet to end."""
    repository = connection.execute(select(repositories.c.id)).scalar_one()
    connection.execute(
        insert(scan_reports).values(
            uuid=digest[-40:] + (scanner or ""),
            repository_id=repository,
            digest=digest,
            scanner=scanner or OWN,
            kind="vulnerability",
            status="Success" if severity else "Running",
            severity=severity or "",
            counts={severity: 1} if severity else None,
            created_at=1.0,
        )
    )


Names = dict[str, str]


async def found(
    lab: Lab, project: int, names: Names, q: str, *, size: int = 100, page: int = 1
) -> tuple[int, list[str]]:
    """How many artifacts there are by that condition, and those of the page by their names."""

    def ask(connection: Connection) -> tuple[int, list[str]]:
        repository = connection.execute(select(repositories.c.id)).scalar_one()
        asked = Page(page, size, parse_q(q))
        more = listed.conditions(connection, project)
        answers = [
            artifact_lists.list_artifacts(connection, asked, scope, None, more)
            for scope in (("repository_id", repository), ("project_id", project))
        ]
        shown = [(total, [names[item.digest] for item in rows]) for total, rows, _ in answers]
        assert shown[0] == shown[1]
        return shown[0]

    return await lab.db.read(ask)


def test_severity_is_that_of_the_worst_finding(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        names: Names = {}
        severities = ["None", "Unknown", "Low", "Medium", "High", "Critical", None]
        digests = {}
        for severity in severities:
            digests[severity] = await lab.image(REPOSITORY, f"is-{severity}")
            names[digests[severity]] = severity or "unscanned"
        running = await lab.image(REPOSITORY, "running")
        children = [await lab.image(REPOSITORY) for _ in range(3)]
        index = await lab.index(REPOSITORY, "index", children[:2])
        bare = await lab.index(REPOSITORY, "bare", children[2:])
        names |= {running: "running", index: "index", bare: "bare"}

        def fill(connection: Connection) -> None:
            own = {"uuid": OWN, "name": OWN, "url": "http://127.0.0.1", "is_default": True}
            connection.execute(insert(scanners).values(**own, created_at=1.0, updated_at=1.0))
            for severity in severities[:-1]:
                report(connection, digests[severity], severity)
            report(connection, running, None)
            report(connection, children[0], "Low")
            report(connection, children[1], "High")
            # Of a scanner that the project does not use.
            report(connection, digests[None], "Critical", "another")

        await lab.db.write(fill)
        for q, wanted in (
            ("severity=[High~]", {"High", "Critical", "index"}),
            ("severity=[medium~]", {"Medium", "High", "Critical", "index"}),
            ("severity=[~Low]", {"None", "Unknown", "Low"}),
            ("severity=[Low~Medium]", {"Low", "Medium"}),
            ("severity=High", {"High", "index"}),
            ("severity=Low", {"Low"}),
            ("severity=None", {"None"}),
            ("severity={Low Critical}", {"Low", "Critical"}),
            ("severity=nil", {"running", "bare", "unscanned"}),
            ("severity=*", {"None", "Unknown", "Low", "Medium", "High", "Critical", "index"}),
        ):
            total, shown = await found(lab, project, names, q)
            assert (total, set(shown)) == (len(wanted), wanted), q
        first, second = [
            await found(lab, project, names, "severity=[High~]", size=2, page=page) for page in (1, 2)
        ]
        assert (first[0], second[0]) == (3, 3)
        assert first[1] + second[1] == ["index", "Critical", "High"]
        for wrong in ("severity=Awful", "severity=~High", "severity=[Awful~]", "severity=(High Low)"):
            with pytest.raises(InvalidError, match="severity"):
                await found(lab, project, names, wrong)

    run(body)


def test_signed_or_not(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        names: Names = {}
        for tag in ("plain", "cosign", "notation", "noted"):
            digest = await lab.image(REPOSITORY, tag)
            names[digest] = tag
            kind = {
                "cosign": "application/vnd.dev.cosign.artifact.sig.v1+json",
                "notation": "application/vnd.cncf.notary.signature",
                "noted": "application/vnd.example.note",
            }.get(tag)
            if kind:
                stored = await lab.content.manifest(REPOSITORY, digest)
                subject: dict[str, Any] = {
                    "mediaType": stored.media_type,
                    "digest": digest,
                    "size": len(stored.payload),
                }
                await lab.image(
                    REPOSITORY,
                    layers=[json.dumps(tag).encode()],
                    config_type=CONFIG,
                    artifactType=kind,
                    subject=subject,
                )
        assert await found(lab, project, names, "signed=true") == (2, ["notation", "cosign"])
        assert await found(lab, project, names, "signed=false") == (2, ["noted", "plain"])
        assert await found(lab, project, names, "signed=false,tags=~no", size=1) == (1, ["noted"])
        for wrong in ("signed=perhaps", "signed=~true", "signed=[1~]"):
            with pytest.raises(InvalidError, match="signed is true or false"):
                await found(lab, project, names, wrong)

    run(body)
