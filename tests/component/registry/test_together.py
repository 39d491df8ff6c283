"""Look-ups on PostgreSQL that arrive together go out together, and see all that was committed before."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator

import pytest

from seawall.infra.db import lanes, open_database
from seawall.infra.db.gather import Gatherer
from seawall.kernel.errors import UnavailableError
from tests.support.digests import digest_of
from tests.support.metered import Metered, metered
from tests.support.processes import PASSWORD, free_port
from tests.support.servers.postgres import Postgres

CLIENTS = 32
ADMIN = ("admin", PASSWORD)


@pytest.fixture(scope="module")
def meter(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    with metered(postgres, tmp_path_factory.mktemp("together"), delay=0.001) as made:
        made.authenticate("library/app")
        yield made


def image(meter: Metered, tag: str) -> tuple[bytes, bytes]:
    """Push a blob and a manifest; returns both."""
    data = secrets.token_bytes(64)
    meter.put_blob("library/app", data)
    payload = meter.image("library/app")
    meter.put_manifest("library/app", tag, payload)
    return data, payload


@pytest.mark.parametrize("kind", ["tag", "digest", "blob"])
def test_many_requests_are_few_statements(meter: Metered, kind: str) -> None:
    pushed = [image(meter, f"{kind}{number}") for number in range(4)]
    paths, bodies = [], []
    for number in range(CLIENTS):
        data, payload = pushed[number % 4]
        path = {
            "tag": f"manifests/{kind}{number % 4}",
            "digest": f"manifests/{digest_of(payload)}",
            "blob": f"blobs/{digest_of(data)}",
        }[kind]
        paths.append(f"/v2/library/app/{path}")
        bodies.append(data if kind == "blob" else payload)
    meter.all("GET", paths)
    answers, cost = meter.all("GET", paths)
    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert [answer.content for answer in answers] == bodies
    looks = [text for text in cost.statements if "FROM repositories" in text]
    assert 1 <= len(looks) <= CLIENTS // 2, cost
    assert len(cost.statements) <= CLIENTS, cost
    # The project's policies come with the manifest.
    assert not [text for text in cost.statements if "project_metadata.value" in text and text not in looks], (
        cost
    )


def test_errors_are_each_request_s_own(meter: Metered) -> None:
    _, payload = image(meter, "there")
    wrong = digest_of(b"not there")
    asked = {
        "/v2/library/app/manifests/there": (200, None),
        "/v2/library/app/manifests/absent": (404, "MANIFEST_UNKNOWN"),
        f"/v2/library/app/manifests/{wrong}": (404, "MANIFEST_UNKNOWN"),
        f"/v2/library/app/manifests/{digest_of(payload)}": (200, None),
        f"/v2/library/app/blobs/{wrong}": (404, "BLOB_UNKNOWN"),
    }
    answers, _ = meter.all("GET", list(asked) * 5)
    for answer, (status, code) in zip(answers, list(asked.values()) * 5, strict=True):
        assert answer.status_code == status
        assert code is None or answer.json()["errors"][0]["code"] == code


def test_a_tag_that_moves_and_a_manifest_that_goes(meter: Metered) -> None:
    """Bytes from memory only as long as the database says that they are meant."""
    url = "/v2/library/app/manifests"
    for _ in range(5):
        _, payload = image(meter, "moving")
        answers, _ = meter.all("GET", [f"{url}/moving"] * 8)
        assert {answer.content for answer in answers} == {payload}
    digest = digest_of(payload)
    # Another repository, which never had it, gets nothing from memory.
    other, _ = meter.send("GET", f"/v2/library/other/manifests/{digest}")
    assert other.status_code in (401, 404)
    assert meter.send("DELETE", f"{url}/{digest}", auth=ADMIN)[0].status_code == 202
    answers, _ = meter.all("GET", [f"{url}/moving", f"{url}/{digest}"] * 8)
    assert {answer.status_code for answer in answers} == {404}


class Slow:
    """A database whose reads end when they are let go; counts what a question saw."""

    def __init__(self) -> None:
        self.committed = 0
        self.questions = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    def change_token(self) -> None:
        return None

    async def read(self, fn):  # type: ignore[no-untyped-def]
        self.questions += 1
        seen = self.committed
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return fn(seen)


def test_nobody_is_answered_from_before_its_question() -> None:
    async def body() -> None:
        db = Slow()
        gatherer: Gatherer[str, int] = Gatherer(db, lambda seen, keys: dict.fromkeys(keys, seen))  # type: ignore
        first = asyncio.create_task(gatherer.get("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert db.questions == 1
        # A write is acknowledged while the first question is under way.
        db.committed = 1
        late = [asyncio.create_task(gatherer.get(key)) for key in "aabcb"]
        await asyncio.sleep(0)
        late[0].cancel()
        db.go.set()
        assert await first == 0
        assert [await task for task in late[1:]] == [1, 1, 1, 1]
        assert db.questions == 2

    asyncio.run(body())


def test_a_slow_question_does_not_hold_the_next() -> None:
    async def body() -> None:
        db = Slow()
        gatherer: Gatherer[str, int] = Gatherer(db, lambda seen, keys: dict.fromkeys(keys, seen))  # type: ignore
        tasks = []
        for key in "abcdefg":
            tasks.append(asyncio.create_task(gatherer.get(key)))
            await asyncio.sleep(0.05)
        assert db.questions == 4
        db.error = UnavailableError("away")
        db.go.set()
        for task in tasks:
            with pytest.raises(UnavailableError):
                await task
        db.error = None
        assert await gatherer.get("a") == 0

    asyncio.run(body())


def test_questions_that_hang_hold_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ANSWER_SECONDS", 0.3)

    async def body() -> None:
        db = Slow()
        gatherer: Gatherer[str, int] = Gatherer(db, lambda seen, keys: dict.fromkeys(keys, seen))  # type: ignore
        hanging = []
        for key in "abcd":
            hanging.append(asyncio.create_task(gatherer.get(key)))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            refused = await asyncio.gather(*(gatherer.get(key) for key in "xyx"), return_exceptions=True)
        assert [type(item) for item in refused] == [UnavailableError] * 3
        assert db.questions == 4
        db.go.set()
        assert await asyncio.gather(*hanging) == [0] * 4
        assert await gatherer.get("x") == 0

    asyncio.run(body())


def test_the_wait_for_others_counts_while_the_database_is_away() -> None:
    """Each fails when its own time is over: neither with who came first nor after a second wait."""
    patience = 3.0

    async def body() -> None:
        db = open_database(f"postgresql://x@127.0.0.1:{free_port()}/x", retry_seconds=patience)
        gatherer: Gatherer[str, int] = Gatherer(db, lambda _connection, keys: dict.fromkeys(keys, 0))

        async def waited(number: int) -> float:
            # The same key is asked for again and again.
            await asyncio.sleep(number * 0.1)
            started = time.monotonic()
            with pytest.raises(UnavailableError):
                await gatherer.get(str(number % 3))
            return time.monotonic() - started

        times = await asyncio.gather(*(waited(number) for number in range(12)))
        await db.close()
        # A second wait would end at twice the patience.
        assert max(times) < 2 * patience - 0.5, times
        # The last attempt may end half a second before the time is over.
        assert min(times) > patience - 1, times

    asyncio.run(body())


def test_one_key_s_fault_is_not_the_others() -> None:
    async def body() -> None:
        db = Slow()
        db.go.set()

        def look(seen: int, keys: list[str]) -> dict[str, int]:
            if "bad" in keys:
                raise ValueError(keys)
            return dict.fromkeys(keys, seen)

        gatherer: Gatherer[str, int] = Gatherer(db, look)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(gatherer.get(key)) for key in ("first", "a", "bad", "b")]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(item) for item in done] == [int, int, ValueError, int]

    asyncio.run(body())
