"""What a syslog server is sent of the audit log."""

from __future__ import annotations

import socket

from seawall.features.audit.trail import syslog_message

ROW = {
    "at": 1796064856.193885,
    "username": "alice",
    "address": "10.0.0.9",
    "operation": "create",
    "resource_type": "artifact",
    "resource": "library/app:1.0",
    "description": "push library/app:1.0",
    "success": True,
}


def test_the_line_is_harbors() -> None:
    line = syslog_message(ROW).decode()
    head, _, rest = line.partition("]: ")
    assert head.startswith(f"<6>2026-11-30T18:54:16Z {socket.gethostname()[:255]} audit[")
    assert rest == (
        '2026-11-30T18:54:16Z [INFO] [address="10.0.0.9" operator="alice" resourceType="artifact" '
        'success="true" time="2026-11-30T18:54:16.193885+00:00"]: '
        "action:create, resource:library/app:1.0, operation_description:push library/app:1.0\n"
    )


def test_nobody_forges_a_line_or_a_field() -> None:
    row = {
        **ROW,
        "username": 'a"\nb\u2028\x85',
        "resource": "c\n<6>d\u2028e",
        "description": "f\r\x7f\ud800",
        "success": False,
    }
    line = syslog_message(row)
    assert line.startswith(b"<4>")
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    assert b'operator="a\\"\\nb\\u2028\\u0085" ' in line
    assert b"resource:c\\u000a<6>d\\u2028e, operation_description:f\\u000d\\u007f\\ud800\n" in line
