"""`seawall doctor` and `seawall status`, at a registry that runs and at ones that do not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import forked
from tests.support.oci.bare import connect, push_blob
from tests.support.processes import clean_environment
from tests.support.registry import Registry
from tests.support.waiting import until


def ask(environment: dict[str, str], *words: str) -> tuple[int, str]:
    """(exit code, standard output); never a trace."""
    done = forked.run(*words, environment=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def listens(server: Registry) -> bool:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"{server.url}/readyz")
        return True
    return False


def kinds(text: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(text)["items"]:
        found.setdefault(item["kind"], []).append(item)
    return found


def test_a_registry_that_runs_is_all_right(registry: Registry) -> None:
    # Its job runner may have begun, or been held for other tests, a moment ago.
    until(lambda: httpx.get(f"{registry.url}/readyz", timeout=60).json()["status"] == "ok", "not ready")
    code, text = ask(registry.environment, "doctor", "--json")
    found = kinds(text)
    # The disk of a machine that runs tests may be nearly full, which is true and not a fault of the test.
    faults = [item for items in found.values() for item in items if item["cure"] and item["kind"] != "disk"]
    assert faults == []
    assert code == int(any(item["cure"] for item in found["disk"]))
    assert {"settings", "disk", "database", "storage", "keys", "instances"} <= set(found)
    assert "written, read and deleted" in found["storage"][0]["message"]
    assert list(registry.data_dir.glob("blobs/**/probe-*")) == []


def test_what_is_wrong_has_a_cure(registry: Registry, tmp_path: Path) -> None:
    wrong = {
        **registry.environment,
        "SEAWALL_REDIS__URL": "redis://127.0.0.1:1/0",
        "SEAWALL_EXTERNAL_URL": "http://registry.invalid",
        "SEAWALL_STORAGE__ROOT": str(tmp_path / "nowhere"),
        "SEAWALL_MASTER_KEY": "A" * 43 + "=",
    }
    code, text = ask(wrong, "doctor", "--output", "json")
    assert code == 1
    found = kinds(text)
    for kind in ("redis", "external_url", "storage", "keys"):
        assert any(item["cure"] for item in found[kind]), kind
    code, text = ask(wrong, "doctor")
    assert code == 1
    assert "  cure: mount it, or correct storage.root" in text


def test_a_share_that_is_not_mounted(tmp_path: Path) -> None:
    """Its mount point is an empty folder, which takes all that is pushed. Doctor, log and probe say so."""
    server = Registry(tmp_path / "data")
    server.start()
    try:
        with connect(server) as client:
            for text in (b"one", b"two", b"three"):
                push_blob(client, "library/app", text)
        assert not kinds(ask(server.environment, "doctor", "--json")[1])["storage"][0]["cure"]
        server.stop()
        said = "storage has none of the blobs"
        assert said not in server.log.read_text()
        empty = tmp_path / "mountpoint"
        empty.mkdir(mode=0o700)
        server.environment["SEAWALL_STORAGE__ROOT"] = str(empty)
        server.launch()
        until(lambda: said in server.log.read_text(), "the log says it")
        code, output = ask(server.environment, "doctor", "--json")
        cures = [item["cure"] for item in kinds(output)["storage"] if item["cure"]]
        assert (code, len(cures), "mount the share" in cures[0]) == (1, 1, True)
        # No balancer sends requests there.
        until(lambda: listens(server), "it listens")
        ready = httpx.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "failed")
        assert "has none of 3 blobs" in ready.text
        shutil.copytree(server.data_dir / "blobs" / "blobs", empty / "blobs", dirs_exist_ok=True)
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, "the share is mounted")
    finally:
        server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for others")
def test_root_makes_nothing_in_the_storage_of_another_user(registry: Registry, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    code, text = ask({**registry.environment, "SEAWALL_STORAGE__ROOT": str(tmp_path)}, "doctor", "--json")
    assert code == 1
    assert kinds(text)["storage"][0]["cure"] == "run the command as the user who runs Seawall"
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_is(tmp_path: Path) -> None:
    code, text = ask(clean_environment(), "doctor", "--data-dir", str(tmp_path / "none"))
    assert code == 1
    assert "there is no registry in" in text
    assert "  cure: name it with --data-dir" in text
    assert not (tmp_path / "none").exists()


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    environment = {**clean_environment(), "SEAWALL_DATABASE__URL": "postgresql://u:secret@127.0.0.1:1/x"}
    code, text = ask(environment, "doctor", "--data-dir", str(tmp_path))
    assert code == 1
    assert "FAULT database: " in text
    assert "secret" not in text


def test_status(registry: Registry) -> None:
    code, text = ask(registry.environment, "status", "--output", "json")
    assert code == 0
    state = json.loads(text)
    assert [item["alive"] for item in state["instances"]] == [True]
    assert state["projects"] >= 1
    assert state["job_runners"] >= 1
    # A pipe gets it once, without --once too.
    code, text = ask(registry.environment, "status")
    assert code == 0
    assert "Instances" in text
    assert "alive" in text


def test_lists_in_json(registry: Registry) -> None:
    for words, key in (
        (("user", "list"), "user"),
        (("project", "list"), "project"),
        (("quota", "list"), "used"),
        (("keys", "list"), "fingerprint"),
        (("jobs", "schedules"), "cron"),
        (("jobs", "list"), "status"),
    ):
        code, text = ask(registry.environment, *words, "--output", "json")
        assert code == 0
        rows = json.loads(text)
        assert rows == [] or key in rows[0], words
        assert words == ("jobs", "list") or rows
