"""Patterns, names and signatures of replication; an interrupted copy goes on where it was."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.features.replication.model import Filter, ReplicationPolicy
from seawall.kernel.errors import InvalidError
from seawall.kernel.patterns import literals, matches
from seawall.kernel.sigv4 import sign_v4
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", "anything/at/all", None),
        ("library/**", "library/a/b", "libraryx/a"),
        ("library/*", "library/a", "library/a/b"),
        ("**", "a/b/c", None),
        ("**/app", "app", "x/apps"),
        ("a/**/b", "a/b", "a/xb"),
        ("v?.[0-9]", "v1.2", "v1.x"),
        ("v[!0-9]", "vx", "v1"),
        ("{dev,prod-*}", "prod-1", "stage"),
        ("{a,b{c,d}}/x", "bd/x", "b/x"),
        ("1.0+{x,}", "1.0+", "1.00"),
        ("a.c", "a.c", "abc"),
    ],
)
def test_patterns(pattern: str, yes: str, no: str | None) -> None:
    assert matches(pattern, yes)
    assert no is None or not matches(pattern, no)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_decides_or_is_invalid(pattern: str, text: str) -> None:
    try:
        found = matches(pattern, text)
    except InvalidError:
        return
    assert isinstance(found, bool)


@given(st.from_regex(r"\A[a-z0-9._/-]{1,30}\Z"))
def test_a_pattern_without_wildcards_is_the_name(name: str) -> None:
    assert literals(name) == [name]
    assert matches(name, name)
    assert not matches(name, name + "x")


def test_names_at_the_destination() -> None:
    def named(count: int, repository: str) -> str:
        return ReplicationPolicy("p", dest_namespace="ns", replace_count=count).destination(repository)

    assert named(-1, "a/b/c/d") == "ns/d"
    assert named(0, "a/b/c/d") == "ns/a/b/c/d"
    assert named(1, "a/b/c/d") == "ns/b/c/d"
    assert named(9, "a/b") == "ns/b"
    assert ReplicationPolicy("p").destination("a/b") == "a/b"


def test_labels_and_tags_of_filters() -> None:
    policy = ReplicationPolicy(
        "p",
        filters=[Filter("label", ["x", "y"]), Filter("label", ["bad"], "excludes"), Filter("tag", "v*")],
    )
    assert policy.wants_labels({"x", "y", "z"})
    assert not policy.wants_labels({"x"})
    assert not policy.wants_labels({"x", "y", "bad"})
    assert policy.wants_tag("v1")
    assert not policy.wants_tag("latest")


def test_aws_signature() -> None:
    # The published example of Signature Version 4: IAM ListUsers, 30 August 2015.
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": "iam.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
    }
    signed = sign_v4(
        "GET",
        "/",
        "Action=ListUsers&Version=2010-05-08",
        headers,
        b"",
        "us-east-1",
        "iam",
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    )
    assert signed.endswith("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
    assert "SignedHeaders=content-type;host;x-amz-date," in signed


def _runner(server: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == server and name == "seawall-jobs":
                return int(entry.name)
    raise AssertionError("no job runner")


def test_a_killed_copy_goes_on_where_it_was(fresh_registry: Registry, second: Registry) -> None:
    fresh_registry.start()
    fresh_registry.create_project("resume")
    here, plain = Remote(fresh_registry.url, fresh_registry.admin), Remote(second.url, second.admin)
    repository = f"resume/{secrets.token_hex(4)}"
    size = 32 * 1024 * 1024
    image = here.push_image(repository, "v1", [secrets.token_bytes(size)])
    api = Api(fresh_registry)
    policy = api.make(
        "/replication/policies",
        {
            "name": "resume",
            "dest_registry": {"id": api.endpoint("second", second.url, "seawall", second.admin)},
            "filters": [{"type": "name", "value": repository}],
            "copy_by_chunk": True,
            "speed": 32 * 1024,
        },
    )
    execution = api.make("/replication/executions", {"policy_id": policy})
    # Two chunks are there: the runner dies.
    with contextlib.closing(sqlite3.connect(second.data_dir / "seawall.db")) as database:
        until(
            lambda: (
                (database.execute("SELECT max(upload_offset) FROM uploads").fetchone()[0] or 0)
                >= 20 * 1024 * 1024
            )
        )
    assert fresh_registry.process is not None
    os.kill(_runner(fresh_registry.process.pid), signal.SIGKILL)
    done = api.wait(execution)
    log = api.logs(execution)
    assert done["status"] == "Succeed", log
    [sent] = re.findall(r"(\d+) bytes in", log)
    assert 0 < int(sent) < size - 9 * 1024 * 1024, log
    assert plain.digest(repository, "v1") == image["digest"]
    plain.check(repository, "v1")
