"""Events of changes of content."""

from __future__ import annotations

from sqlalchemy import update

from seawall.infra.live.events import Event
from seawall.infra.live.feed import Feed
from seawall.registry.live import ARTIFACT, ContentSource, Sweep
from seawall.registry.tables import content_changes
from tests.support.lab import Lab, Run


def test_a_push_after_the_old_rows_are_gone_is_told(run: Run) -> None:
    """SQLite gives the number of a row again when none is left."""

    async def check(lab: Lab) -> None:
        project = await lab.project()
        feed = Feed(lab.db, [ContentSource()])
        assert await feed.changes() == []
        for tag in ("1", "2", "3"):
            await lab.image("p/app", tag)
            assert await feed.changes() == [Event(ARTIFACT, project, "p/app")], tag
            await lab.db.write(lambda c: c.execute(update(content_changes).values(at=1.0)))
            await Sweep(lab.db).once()

    run(check)
