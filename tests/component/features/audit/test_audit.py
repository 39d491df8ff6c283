"""The audit log of content, its purge, and its way to a syslog server."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api import Api
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Registry]:
    """A server of the test's own (SQLite, one worker)."""
    registry = Registry(tmp_path / "data", {"SEAWALL_HTTP__WORKERS": "1"})
    registry.start()
    try:
        yield registry
    finally:
        registry.close()


def push(registry: Registry, repository: str) -> str:
    """Push an empty artifact tagged 1; returns its digest."""
    digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    url = f"{registry.url}/v2/{repository}"
    with httpx.Client(auth=registry.admin, timeout=60) as client:
        assert (
            client.post(f"{url}/blobs/uploads/", params={"digest": digest}, content=b"{}").status_code == 201
        )
        empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "artifactType": "application/x.test",
            "config": empty,
            "layers": [empty],
        }
        done = client.put(f"{url}/manifests/1", content=json.dumps(manifest), headers={"Content-Type": kind})
        assert done.status_code == 201
        assert client.get(f"{url}/manifests/1", headers={"Accept": kind}).status_code == 200
    return str(done.headers["Docker-Content-Digest"])


def test_content_and_purge(server: Registry) -> None:
    with Api(server, server.admin) as admin:
        project = admin.project()
        digest = push(server, f"{project}/a")

        def told() -> set[tuple[str, str]]:
            logs = admin.get(f"/projects/{project}/auditlog-exts", params={"page_size": 100}).json()
            return {(item["operation"], item["resource"]) for item in logs}

        wanted = {("create", f"{project}/a:1"), ("pull", f"{project}/a:1")}
        until(lambda: wanted <= told(), "push and pull in the log")
        gone = httpx.delete(f"{server.url}/v2/{project}/a/manifests/{digest}", auth=server.admin)
        assert gone.status_code == 202
        assert ("delete", f"{project}/a@{digest}") in told()
        # Left out when configured so.
        off = {"pull_audit_log_disable": True, "disabled_audit_log_event_types": "create_project"}
        assert admin.put("/configurations", json=off).status_code == 200
        silent = admin.project()
        assert admin.get(f"/projects/{silent}/logs").json() == []
        # The purge: refused without a number of hours, counted in a dry run, done.
        schedule = "/system/purgeaudit/schedule"
        assert admin.post(schedule, json={"schedule": {"type": "Manual"}}).status_code == 400
        unknown = {"audit_retention_hour": 1, "include_event_types": "No Name"}
        body = {"schedule": {"type": "Manual"}, "parameters": unknown}
        assert admin.post(schedule, json=body).status_code == 400
        parameters = {
            "audit_retention_hour": 1,
            "dry_run": True,
            "include_event_types": "create_artifact,pull",
        }
        run = admin.made(schedule, {"schedule": {"type": "Manual"}, "parameters": parameters})

        def over() -> Any:
            found = admin.get(f"/system/purgeaudit/{run}").json()
            assert found["job_status"] != "Error", admin.get(f"/system/purgeaudit/{run}/log").text
            return found if found["job_status"] == "Success" else None

        done = until(over, "the purge")
        assert json.loads(done["job_parameters"])["purged"] == 0
        assert (
            "entries older than 1 hours would be deleted" in admin.get(f"/system/purgeaudit/{run}/log").text
        )
        assert [item["id"] for item in admin.get("/system/purgeaudit").json()] == [run]
        weekly = {"schedule": {"type": "Weekly"}, "parameters": {"audit_retention_hour": 24}}
        assert admin.post(schedule, json=weekly).status_code == 201
        assert admin.post(schedule, json=weekly).status_code == 201
        assert admin.get(schedule).json()["schedule"]["type"] == "Weekly"
        assert admin.put(schedule, json={"schedule": {"type": "None"}}).status_code == 200
        assert admin.get(schedule).text == ""


def test_read_only_mode(server: Registry) -> None:
    with Api(server, server.admin) as admin:
        project = admin.project()
        push(server, f"{project}/a")
        assert admin.put("/configurations", json={"read_only": True}).status_code == 200
        upload = httpx.post(f"{server.url}/v2/{project}/a/blobs/uploads/", auth=server.admin)
        assert (upload.status_code, upload.json()["errors"][0]["code"]) == (403, "DENIED")
        assert httpx.get(f"{server.url}/v2/{project}/a/manifests/1", auth=server.admin).status_code == 200
        refused = admin.post("/projects", json={"project_name": "later"})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "DENIED")
        assert admin.get("/systeminfo").json()["read_only"] is True
        assert admin.put("/configurations", json={"read_only": False}).status_code == 200
        assert admin.post("/projects", json={"project_name": "later"}).status_code == 201


def test_token_lifetime_is_configured(server: Registry) -> None:
    with Api(server, server.admin) as admin:
        assert admin.put("/configurations", json={"token_expiration": 7}).status_code == 200
    token = httpx.get(f"{server.url}/service/token", auth=server.admin).json()
    assert token["expires_in"] == 420


class Syslog:
    """A syslog server over TCP that takes a line for each message."""

    def __init__(self, port: int, *, dying: bool = False) -> None:
        """`dying`: it ends each connection with the message unread."""
        self.messages: list[str] = []
        self.dying = dying
        self._socket = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self.dying:
                # What has come is unread: the connection is reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                continue
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
            self.messages += data.decode().splitlines()

    def close(self) -> None:
        self._socket.close()


def test_forwarded_to_syslog_also_after_it_was_away(server: Registry) -> None:
    with Api(server, server.admin) as admin:
        port = free_port()
        skip = {"skip_audit_log_database": True}
        assert admin.put("/configurations", json=skip).status_code == 400
        endpoint = {"audit_log_forward_endpoint": f"127.0.0.1:{port}"}
        assert admin.put("/configurations", json={**endpoint, **skip}).status_code == 200
        # Nobody listens yet; the entry waits in the outbox.
        name = admin.project()
        time.sleep(1)
        syslog = Syslog(port)
        try:
            found = until(
                lambda: [m for m in syslog.messages if f"create project {name}" in m],
                "the syslog message",
                90,
            )
        finally:
            syslog.close()
        form = (
            r'<6>(\S+Z) \S+ audit\[\d+\]: \1 \[INFO\] \[address="127\.0\.0\.1" operator="admin" '
            r'resourceType="project" success="true" time="[\dT:.+-]+"\]: '
            rf"action:create, resource:{name}, operation_description:create project {name}"
        )
        assert re.fullmatch(form, found[0]), found[0]
        assert admin.get(f"/projects/{name}/logs").json() == []


def test_what_a_syslog_server_did_not_read_is_sent_again(server: Registry) -> None:
    syslog = Syslog(port := free_port(), dying=True)
    try:
        with Api(server, server.admin) as admin:
            for number in (0, 65536, 99999):
                refused = admin.put(
                    "/configurations", json={"audit_log_forward_endpoint": f"127.0.0.1:{number}"}
                )
                assert refused.status_code == 400, number
                assert "port" in refused.json()["errors"][0]["message"]
            endpoint = {"audit_log_forward_endpoint": f"127.0.0.1:{port}"}
            assert admin.put("/configurations", json=endpoint).status_code == 200
            names = [admin.project() for _ in range(5)]
            time.sleep(2)
            syslog.dying = False
            for name in names:
                until(
                    lambda name=name: [m for m in syslog.messages if f"create project {name}" in m],  # type: ignore[misc]
                    f"{name} is not there",
                    60,
                )
    finally:
        syslog.close()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Registry]:
    """A server that forgets the names of users who are removed."""
    wanted = {"SEAWALL_GDPR__AUDIT_LOGS": "true", "SEAWALL_GDPR__DELETE_USER": "true"}
    registry = Registry(tmp_path / "data", {"SEAWALL_HTTP__WORKERS": "1", **wanted})
    registry.start()
    try:
        yield registry
    finally:
        registry.close()


def _log(admin: Api) -> list[dict[str, Any]]:
    found = admin.get("/auditlog-exts", params={"page_size": 100})
    assert found.status_code == 200
    return list(found.json())


def test_name_of_a_removed_user_goes(forgetful: Registry) -> None:
    with Api(forgetful, forgetful.admin) as admin:
        project = admin.project()
        number, name = admin.user()
        # A longer name that begins so stays.
        other = f"{name}2"
        admin.made("/users", {"username": other, "password": PASSWORD})
        for who, role in ((name, 1), (other, 2)):
            admin.member(project, who, role)
        hook = {
            "name": "h",
            "event_types": ["PUSH_ARTIFACT"],
            "targets": [{"type": "http", "address": "http://h"}],
        }
        with Api(forgetful, (name, PASSWORD)) as one, Api(forgetful, (other, PASSWORD)) as two:
            one.made(f"/projects/{project}/webhook/policies", hook)
            two.project()
            token = one.post("/users/current/tokens", json={"name": "ci", "scopes": ["pull"]}).json()["id"]
        assert admin.delete(f"/users/{number}/tokens/{token}").status_code == 200
        assert {name, other} <= {item["username"] for item in _log(admin)}
        assert admin.delete(f"/users/{number}").status_code == 200
        until(lambda: name not in {item["username"] for item in _log(admin)}, "the job")
        log = _log(admin)
        assert not [item for item in log if name in json.dumps(item).replace(other, "")]
        assert other in {item["username"] for item in log}
        [pseudonym] = {item["username"] for item in log if item["username"].startswith("removed#")}
        told = {(item["operation"], item["resource"]) for item in log if item["resource_type"] == "user"}
        assert {("create", pseudonym), ("delete", pseudonym), ("create", other)} <= told
        [policy] = admin.get(f"/projects/{project}/webhook/policies").json()
        assert policy["creator"] == pseudonym
        # Who has the name later has entries of its own, which the second run leaves alone.
        assert admin.post("/users", json={"username": name, "password": PASSWORD}).status_code == 201
        assert next(item["resource"] for item in _log(admin)) == name
        done = forgetful.cli("user", "delete", other)
        assert done.returncode == 0, done.stderr
        until(lambda: other not in {item["username"] for item in _log(admin)}, "the job of the command")
