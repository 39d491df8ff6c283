"""What `seawall jobs start` takes besides the kind: a slip must not make a real run of a dry one."""

from __future__ import annotations

from typing import Any

import pytest

from seawall.kernel.errors import InvalidError
from seawall.process.commands.jobs import check_arguments


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("gc", {"dry-run": True}, "job gc has no argument 'dry-run'; did you mean dry_run?"),
        ("gc", {"dry_run": "false"}, "job gc: dry_run must be true or false"),
        ("gc", {"x": 1}, "there are delete_untagged, dry_run, workers"),
        ("scrub", {"minutes": True}, "job scrub: minutes must be a number"),
        ("purge-audit", {}, "job purge-audit needs audit_retention_hour"),
        ("purge-audit", {"dry_run": True}, "job purge-audit needs audit_retention_hour"),
    ],
)
def test_slips(kind: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check_arguments(kind, arguments)
    assert message in str(refused.value)


def test_what_is_right() -> None:
    check_arguments("gc", {})
    check_arguments("gc", {"dry_run": True, "delete_untagged": False})
    check_arguments("scrub", {"minutes": 600, "megabytes_per_second": 0.5})
    check_arguments("purge-audit", {"audit_retention_hour": 2160, "include_event_types": "pull_artifact"})
    check_arguments("proxy-expire", {"days": 0.1})
