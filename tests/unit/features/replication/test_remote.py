"""What is said of a registry that gives no answer."""

from __future__ import annotations

import httpx
import pytest

from seawall.features.replication.remote import reason


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
