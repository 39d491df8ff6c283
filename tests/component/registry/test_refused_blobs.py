"""A blob whose record is refused leaves nothing in storage; its bytes would wait for the collector."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import Connection, delete

from seawall.access.tables import projects
from seawall.availability.sites import state
from seawall.infra.settings import DrSettings
from seawall.kernel.errors import RegistryError, StandbyError
from seawall.registry.model import Chunk
from seawall.registry.tables import repositories, uploads
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run


def _fence(connection: Connection) -> None:
    state.begin(connection, DrSettings(site="a", peer="http://127.0.0.1:9"))
    state.put(connection, role="fenced", epoch=1, writable_until=None, promised_until=0.0, peer=None)


def _delete_project(connection: Connection) -> None:
    connection.execute(delete(repositories))
    connection.execute(delete(projects))


def _end_session(connection: Connection) -> None:
    connection.execute(delete(uploads))


@pytest.mark.parametrize(
    ("begun", "refuse", "expected"),
    [
        (b"", _fence, StandbyError),
        (b"first", _fence, StandbyError),
        (b"", _delete_project, RegistryError),
        (b"first", _end_session, RegistryError),
    ],
    ids=["a standby", "a standby, a session with bytes", "no project", "an ended session"],
)
def test_nothing_stays(
    run: Run, begun: bytes, refuse: Callable[[Connection], None], expected: type[Exception]
) -> None:
    async def body(lab: Lab) -> None:
        registry = lab.services.registry
        await lab.project()
        session = await lab.session("p/app", begun)
        rest = secrets.token_bytes(100_000)

        async def refused_meanwhile() -> AsyncIterator[bytes]:
            yield rest
            await lab.db.write(refuse)

        with pytest.raises(expected):
            await registry.close_upload("p/app", session, digest_of(begun + rest), Chunk(refused_meanwhile()))
        assert [item async for item in lab.services.storage.list()] == []
        assert await lab.services.storage.upload_size(session) is None

    run(body)
