"""What is said of a registry that gives no answer."""

from __future__ import annotations

import datetime
import email.utils

import httpx
import pytest

from seawall.features.replication.remote import reason, retry_after


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "no answer in time"),
        (httpx.ReadTimeout(""), "no answer in time"),
        (httpx.ReadError(""), "the connection broke off"),
        (httpx.ConnectError("Name or service not known\nmore"), "Name or service not known"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_one_line(error: Exception, said: str) -> None:
    assert reason(error) == said


@pytest.mark.parametrize("seconds", [90, 0])
def test_an_answer_says_when_to_ask_again(seconds: int) -> None:
    date = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds), usegmt=True
    )
    for value in (str(seconds), date):
        found = retry_after(httpx.Response(429, headers={"Retry-After": value}))
        assert seconds - 60 < found <= seconds


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "9" * 20, "Mon, 01 Jan 1990 00:00:00 GMT"])
def test_an_answer_does_not_say_when(value: str) -> None:
    assert retry_after(httpx.Response(429, headers={"Retry-After": value})) == 0
