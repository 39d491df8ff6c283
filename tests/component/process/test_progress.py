"""Bars of long commands, on a terminal and nowhere else; JSON on standard output all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.terminal import at_terminal

OSV = {
    "id": "OSV-1",
    "modified": "2024-01-01T00:00:00Z",
    "affected": [{"package": {"name": "a", "ecosystem": "PyPI"}, "versions": ["1"]}],
}


@pytest.mark.timeout(900)
def test_bars_on_a_terminal_and_none_elsewhere(fresh_registry: Registry, tmp_path: Path) -> None:
    server = fresh_registry
    server.start()
    command = ["demo", "library/app", "--url", server.url, "--json"]
    push = forked.run(*command, environment={**server.environment, "SEAWALL_PASSWORD": PASSWORD})
    assert json.loads(push.stdout)["image"] == f"{server.host}/library/app:1.0"
    feed = tmp_path / "feed.json"
    feed.write_text(json.dumps([OSV]))
    backup, target = tmp_path / "backup", tmp_path / "restored"
    commands = {
        ("gc", "--grace-minutes", "0", "--reader-minutes", "0"): "stored files looked at",
        ("fsck",): "blobs checked",
        ("backup", str(backup)): "blobs",
        ("backup", str(backup), "--verify"): "blobs of the backup checked",
        ("restore", str(backup), "--data-dir", str(target)): "blobs restored",
        ("scan", "db", "import", str(feed)): "osv: records read",
    }
    for words, bar in commands.items():
        done, shown = at_terminal(server, *words, "--json")
        assert done.returncode == 0, (words, shown)
        assert bar in shown, (words, shown)
        assert json.loads(done.stdout), words
    for words in list(commands)[:4]:
        quiet = server.cli(*words, "--output", "json")
        assert (quiet.returncode, quiet.stderr) == (0, ""), words
        assert json.loads(quiet.stdout), words
        for_people = server.cli(*words)
        assert (for_people.returncode, for_people.stderr) == (0, ""), words
        assert not for_people.stdout.startswith("{"), words
    # A database that is not there yet is made in many steps.
    new = {"SEAWALL_DATABASE__URL": f"sqlite:///{tmp_path / 'new.db'}"}
    server.environment.update(new)
    done, shown = at_terminal(server, "migrate")
    assert (done.returncode, "migrations" in shown) == (0, True), shown
