"""Webhooks arrive, in the formats asked for, at least once, and nowhere they must not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from seawall.features.webhooks import delivery, guard, payload, policies
from seawall.features.webhooks.recorder import EventRecorder
from seawall.features.webhooks.tables import webhook_deliveries, webhook_policies
from seawall.infra import addresses
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.registry import accounting
from tests.support.lab import Lab, Run
from tests.support.receiver import Receiver
from tests.support.waiting import eventually
from tests.support.webhooks import wanted


async def make(lab: Lab, project: int, policy: policies.Wanted) -> int:
    """Store a policy."""
    return await lab.db.write(lambda c: policies.create(c, lab.services.keys, project, policy, "me"))


async def stored(lab: Lab) -> list[policies.Delivery]:
    """Every delivery."""
    return await lab.db.read(
        lambda c: [
            policies.Delivery(*row)
            for row in c.execute(policies.deliveries().order_by(webhook_deliveries.c.id))
        ]
    )


async def settled(lab: Lab, count: int) -> list[policies.Delivery]:
    """The deliveries once `count` of them are over."""

    async def over() -> list[policies.Delivery]:
        found = await stored(lab)
        ended = len(found) >= count and all(item.status in ("success", "error") for item in found)
        return found if ended else []

    done: list[policies.Delivery] = await eventually(over)
    return done


def test_push_and_delete_in_harbors_format(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        policy = wanted(receiver.url, "PUSH_ARTIFACT", "DELETE_ARTIFACT", auth_header="Bearer secret-word")
        await make(lab, project, policy)
        digest = await lab.image("p/deep/a", "v1")
        await eventually(lambda: len(receiver.received) == 1)
        request = receiver.received[0]
        assert request.path == "/hook?k=v"
        assert request.headers["authorization"] == "Bearer secret-word"
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert request.headers["content-type"] == "application/json"
        event = request.json
        assert set(event) == {"type", "occur_at", "operator", "event_data"}
        assert event["type"] == "PUSH_ARTIFACT"
        assert event["event_data"]["resources"] == [
            {"digest": digest, "tag": "v1", "resource_url": "registry.example:8443/p/deep/a:v1"}
        ]
        repository = event["event_data"]["repository"]
        assert repository.pop("date_created") > 0
        assert repository == {
            "name": "deep/a",
            "namespace": "p",
            "repo_full_name": "p/deep/a",
            "repo_type": "public",
        }
        await lab.services.artifacts.delete("p/deep/a", "v1")
        await eventually(lambda: len(receiver.received) == 2)
        assert receiver.received[1].json["type"] == "DELETE_ARTIFACT"
        found = await settled(lab, 2)
        assert [item.status for item in found] == ["success", "success"]
        # The credential is sealed in the database.
        row = await lab.db.read(lambda c: c.execute(select(webhook_policies.c.secret)).scalar_one())
        assert "secret-word" not in row

    run_jobs(body)


def test_cloud_events_and_slack(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await make(lab, project, wanted(receiver.url, payload_format="CloudEvents"))
        await make(lab, project, wanted(receiver.url, name="chat", target_type="slack"))
        await make(lab, project, wanted(receiver.url, name="off", enabled=False))
        await make(lab, project, wanted(receiver.url, "SCANNING_FAILED", name="other"))
        await lab.image("p/a", "v1")
        await settled(lab, 2)
        by_type = {item.headers["content-type"]: item.json for item in receiver.received}
        assert len(receiver.received) == 2
        event = by_type["application/cloudevents+json"]
        assert (event["specversion"], event["type"]) == ("1.0", "harbor.artifact.pushed")
        assert event["id"]
        assert event["source"].startswith(f"/projects/{project}/webhook/policies/")
        assert event["data"]["repository"]["repo_full_name"] == "p/a"
        blocks = by_type["application/json"]["blocks"]
        assert any("PUSH_ARTIFACT" in block["text"]["text"] for block in blocks)

    run_jobs(body)


def test_a_policy_with_several_targets(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        other = receiver.url.replace("/hook", "/other")
        keys = lab.services.keys
        policy = wanted(receiver.url, also=(other,), auth_header="Bearer secret-word")
        policy_id = await make(lab, project, policy)
        await lab.image("p/a", "v1")
        found = await settled(lab, 2)
        assert [(item.target, item.status) for item in found] == [(0, "success"), (1, "success")]
        assert sorted(item.path for item in receiver.received) == ["/hook?k=v", "/other?k=v"]
        assert {item.headers["authorization"] for item in receiver.received} == {"Bearer secret-word"}
        row = await lab.db.read(lambda c: c.execute(select(webhook_policies.c.more_targets)).scalar_one())
        assert "secret-word" not in str(row)
        # A target keeps its credential wherever it stands, and a new address gets none.
        changed = wanted("https://new.example/x", also=(receiver.url,))
        await lab.db.write(lambda c: policies.change(c, keys, project, policy_id, changed))
        kept = await lab.db.read(lambda c: policies.get(c, project, policy_id))
        assert [bool(target.secret) for target in kept.targets] == [False, True]

    run_jobs(body)


def test_retried_until_taken(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        policy_id = await make(lab, project, wanted(receiver.url))
        receiver.answer = lambda number: (503, {}) if number < 2 else (204, {})
        await lab.image("p/a", "v1")
        (found,) = await settled(lab, 1)
        assert (found.status, len(receiver.received)) == ("success", 3)
        # On a loaded machine one may end before it has a connection.
        assert found.attempts >= 3
        assert len({request.body for request in receiver.received}) == 1
        assert found.log.count("HTTP 503") == 2
        last = await lab.db.read(lambda c: policies.last_triggers(c, project))
        assert [(policy.id, kind, at is not None) for policy, kind, at in last] == [
            (policy_id, "PUSH_ARTIFACT", True)
        ]

    run_jobs(body)


def test_redirects_are_not_followed(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await make(lab, project, wanted(receiver.url))
        receiver.answer = lambda number: (302, {"Location": "/elsewhere"}) if number < 1 else (200, {})
        await lab.image("p/a", "v1")
        await settled(lab, 1)
        assert [request.path for request in receiver.received] == ["/hook?k=v"] * 2

    run_jobs(body)


def test_quota_and_pull_events(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await make(lab, project, wanted(receiver.url, "QUOTA_EXCEED", "QUOTA_WARNING", "PULL_ARTIFACT"))
        recorder = next(hook for hook in lab.services.hooks.items if isinstance(hook, EventRecorder))
        await recorder.refresh()
        digest = await lab.image("p/a", "v1")
        await lab.content.pulling("p/a", await lab.content.manifest("p/a", "v1"), "v1")
        used = await lab.used(project)
        await lab.db.write(lambda c: accounting.set_quota(c, project, used + 1000))
        await lab.blob("p/a", bytes(950))
        with pytest.raises(accounting.QuotaExceededError):
            await lab.blob("p/a", bytes(951))
        await settled(lab, 3)
        kinds = {request.json["type"]: request.json["event_data"] for request in receiver.received}
        assert set(kinds) == {"QUOTA_EXCEED", "QUOTA_WARNING", "PULL_ARTIFACT"}
        assert kinds["PULL_ARTIFACT"]["resources"][0]["digest"] == digest
        assert "quota" in kinds["QUOTA_EXCEED"]["custom_attributes"]["Details"]

    run_jobs(body)


def test_an_event_handed_over_twice_is_one_delivery(run_jobs: Run, receiver: Receiver) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await make(lab, project, wanted(receiver.url))
        handle = lab.services.events.handlers[delivery.SUBSCRIBER]
        event: dict[str, Any] = {"id": "one", "project_id": project, "occur_at": 1, "resources": []}
        await handle("PUSH_ARTIFACT", event)
        await handle("PUSH_ARTIFACT", event)
        assert len(await settled(lab, 1)) == 1
        assert len(receiver.received) == 1

    run_jobs(body)


def test_policies(run_jobs: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        keys = lab.services.keys
        policy_id = await make(lab, project, wanted("https://a.example/x", auth_header="Basic abc"))
        with pytest.raises(ConflictError):
            await make(lab, project, wanted("https://a.example/x"))
        await lab.db.write(
            lambda c: policies.change(c, keys, project, policy_id, wanted("https://a.example/x"))
        )
        kept = await lab.db.read(lambda c: policies.get(c, project, policy_id))
        assert kept.secret
        assert keys.decrypt("webhook", kept.secret) == b"Basic abc"
        # A credential does not follow a policy to another address.
        await lab.db.write(
            lambda c: policies.change(c, keys, project, policy_id, wanted("https://evil.example/x"))
        )
        assert (await lab.db.read(lambda c: policies.get(c, project, policy_id))).secret is None
        await lab.db.write(lambda c: policies.remove(c, project, policy_id))
        with pytest.raises(NotFoundError):
            await lab.db.read(lambda c: policies.get(c, project, policy_id))

    run_jobs(body)


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"target_type": "mail"},
        {"address": "ftp://x"},
        {"address": "http://"},
        {"address": "http://u:p@x/"},
        {"address": "http://x/ y"},
        {"address": "http://[::1"},
        {"payload_format": "XML"},
        {"target_type": "slack", "payload_format": "CloudEvents"},
        {"event_types": []},
        {"event_types": ["EVERYTHING"]},
        {"auth_header": "a\r\nX: y"},
    ],
)
def test_malformed_policies(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        policies.checked(wanted(**{"address": "https://a.example/x", **change}))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_inside_addresses_are_refused(address: str) -> None:
    assert not addresses.allowed(ipaddress.ip_address(address), ())


def test_outside_and_listed_addresses_are_allowed() -> None:
    for address in ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"):
        assert addresses.allowed(ipaddress.ip_address(address), ())
    allow = addresses.networks(["10.1.0.0/16"])
    assert addresses.allowed(ipaddress.ip_address("10.1.2.3"), allow)
    assert addresses.allowed(ipaddress.ip_address("::ffff:10.1.2.3"), allow)
    assert not addresses.allowed(ipaddress.ip_address("10.2.0.1"), allow)


def test_nothing_is_sent_inside(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, by name, and by a name that has a good address beside the bad one."""
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host in ("both.example", b"both.example"):
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (item, port))
                for item in ("93.184.215.14", "127.0.0.1")
            ]
        return real(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    for host in ("127.0.0.1", "localhost", "0x7f000001", "2130706433", "both.example", "no-such.invalid"):
        with pytest.raises(guard.RefusedError):
            asyncio.run(guard.post(f"http://{host}:{receiver.port}/", b"{}", {}))
    assert receiver.received == []


def test_the_checked_address_is_the_one_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers differently the second time is not asked a second time."""
    asked: list[str] = []

    def lookup(host: Any, port: Any, *_rest: Any, **_options: Any) -> Any:
        asked.append(str(host))
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    allow = addresses.networks(["127.0.0.1"])
    answer = asyncio.run(guard.post(f"http://rebind.example:{receiver.port}/x", b"{}", {}, allow=allow))
    assert answer.status == 200
    assert receiver.received[0].headers["host"] == f"rebind.example:{receiver.port}"
    assert asked.count("rebind.example") == 1


def certificate(path: Path) -> Path:
    """A self-signed certificate with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_verified_unless_switched_off(tmp_path: Path) -> None:
    receiver = Receiver(certificate(tmp_path / "pair.pem"))
    allow = addresses.networks(["127.0.0.0/8"])
    try:
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(guard.post(receiver.url, b"{}", {}, allow=allow))
        assert receiver.received == []
        answer = asyncio.run(guard.post(receiver.url, b"{}", {}, allow=allow, verify=False))
        assert (answer.status, answer.body) == (200, "ok")
    finally:
        receiver.close()


def test_slack_text_is_bounded_and_escaped() -> None:
    data = {"event_data": {"x": "<" * 10000}, "occur_at": 0}
    blocks = payload.slack("PUSH_ARTIFACT", data, None)["blocks"]
    assert all(len(block["text"]["text"]) <= 3000 for block in blocks)
    assert all("<<" not in block["text"]["text"] for block in blocks)
