"""Guessing passwords: few different ones are tried, and the answers to the others say nothing."""

from __future__ import annotations

import asyncio

import pytest

from seawall.access.accounts import LocalAccounts
from seawall.access.service import AuthService
from seawall.access.throttle import guess
from seawall.kernel.errors import RegistryError
from seawall.kernel.presence import GoneError
from tests.support.lab import Lab, Run
from tests.support.presence import Gone, for_client

RIGHT = "Right12345"


async def attempt(auth: AuthService, secret: str, name: str = "alice", address: str = "192.0.2.1") -> str:
    """What a login is answered: in, wrong or wait."""
    try:
        found = await auth.authenticate(name, secret, address)
    except RegistryError as error:
        assert error.code == "TOOMANYREQUESTS"
        return "wait"
    return "in" if found is not None else "wrong"


def test_past_the_limit_nothing_shines_through(run: Run) -> None:
    async def body(lab: Lab) -> None:
        auth = lab.services.auth
        await LocalAccounts(lab.db).create_user("alice", RIGHT)
        # This process remembers the right one.
        assert await attempt(auth, RIGHT) == "in"
        guesses = [f"Wrong{number:05}" for number in range(40)]
        guesses.insert(20, RIGHT)
        answers = [await attempt(auth, secret) for secret in guesses]
        assert answers == ["wrong"] * 5 + ["wait"] * 36
        assert await attempt(auth, RIGHT, address="192.0.2.2") == "in"

    run(body)


def test_guesses_at_once_are_not_all_tried(run: Run) -> None:
    async def body(lab: Lab) -> None:
        auth = lab.services.auth
        await LocalAccounts(lab.db).create_user("alice", RIGHT)
        answers = await asyncio.gather(*(attempt(auth, f"Wrong{number:05}") for number in range(40)))
        assert answers.count("wrong") == 5
        assert answers.count("wait") == 35

    run(body)


def test_an_old_secret_locks_nobody_out(run: Run) -> None:
    async def body(lab: Lab) -> None:
        auth = lab.services.auth
        await LocalAccounts(lab.db).create_user("alice", RIGHT)
        for _ in range(30):
            assert await attempt(auth, "Old1234567") == "wrong"
            assert await attempt(auth, RIGHT) == "in"
        # A rotation: what was guessed of the old password does not count for the new one.
        for number in range(20):
            await attempt(auth, f"Wrong{number:05}")
        assert await attempt(auth, RIGHT) == "wait"
        await LocalAccounts(lab.db).set_password("alice", "Newer12345")
        assert await attempt(auth, "Newer12345") == "in"

    run(body)


@pytest.mark.parametrize(
    "name",
    [
        "ALICE",
        " alice ",
        "Alice",
        "\uff41lice",
        "al\u00adice",
        "\u200balice",
        "a l i c e",
        "ali\u0301ce",
        "al\u00edce",
    ],
)
def test_spellings_have_one_counter(name: str) -> None:
    assert guess(name, "x", "192.0.2.1") == guess("alice", "x", "192.0.2.1")
    assert guess(name, "x", "192.0.2.1").key != guess("alice", "x", "192.0.2.2").key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1%eth0", "2001:db8::1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "192.0.2.1", False),
    ],
)
def test_all_addresses_of_a_client_have_one_counter(one: str, other: str, same: bool) -> None:
    """Of IPv6 a client has a /64: guesses from 2**64 addresses would each have been the first."""
    assert (guess("alice", "x", one).key == guess("alice", "x", other).key) is same


def test_guesses_that_come_anyway_make_the_wait_grow(run: Run) -> None:
    async def body(lab: Lab) -> None:
        auth = lab.services.auth
        await LocalAccounts(lab.db).create_user("alice", RIGHT)
        waits = []
        for number in range(60):
            try:
                await auth.authenticate("alice", f"Wrong{number:05}", "192.0.2.1")
            except RegistryError as error:
                waits.append(int(error.headers["Retry-After"]))
        assert waits[0] <= 31
        assert waits[-1] > 500

    run(body)


def test_who_has_gone_leaves_the_line_of_logins(run: Run) -> None:
    """An address gets one hash at a time, so those of nobody would keep others waiting."""

    async def body(lab: Lab) -> None:
        auth = lab.services.auth
        await LocalAccounts(lab.db).create_user("alice", RIGHT)
        client = Gone()
        client.event.set()
        first = asyncio.create_task(auth.authenticate("alice", "Wrong1", "192.0.2.1"))
        gone = [for_client(client, auth.authenticate("alice", RIGHT, "192.0.2.1")) for _ in range(3)]
        found = await asyncio.gather(first, *gone, return_exceptions=True)
        assert found[0] is None
        # One of them may come before the first, to a line that is free.
        assert sum(isinstance(item, GoneError) for item in found[1:]) >= 2
        assert await attempt(auth, RIGHT) == "in"

    run(body)
