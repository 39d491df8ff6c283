"""Two sites: following, the fence at every door, planned switches, promotion under a witness."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.identity import SOURCES, Identity
from tests.support.processes import free_port
from tests.support.servers.issuer import open_issuer
from tests.support.servers.postgres import Postgres
from tests.support.servers.slapd import Slapd
from tests.support.sites import Site, Sites, damaged_blobs, noise, wait


@pytest.fixture(scope="module")
def sites(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """A PostgreSQL site `a` and a SQLite site `b`, with a witness."""
    pair = Sites(tmp_path_factory.mktemp("sites"), (postgres.migrated(), None), witness=True)
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def active(sites: Sites) -> tuple[Site, Site]:
    """(the active site, the standby), once there is one of each."""

    def settled() -> bool:
        roles = {sites.status(site)["role"] for site in (sites.a, sites.b)}
        return roles == {"active", "standby"}

    wait(settled, lambda: f"{sites.status(sites.a)} {sites.status(sites.b)}")
    first = sites.status(sites.a)["role"] == "active"
    return (sites.a, sites.b) if first else (sites.b, sites.a)


def test_everything_is_followed_and_nothing_written(sites: Sites) -> None:
    one, two = active(sites)
    digest = one.push("library/app", "v1", noise())
    one.create_user("mara", "Secret-123456")
    one.api("POST", "/projects", json={"project_name": "team", "metadata": {"public": "false"}})
    one.add_member("team", "mara", "developer")
    one.push("library/app", "gone", noise())
    sites.caught_up(two, one)
    one.api("DELETE", "/projects/library/repositories/app/artifacts/gone")
    sites.caught_up(two, one)
    assert two.tag("library/app", "v1").headers["docker-content-digest"] == digest
    assert two.tag("library/app", "gone").status_code == 404
    assert damaged_blobs(two) == []
    # Logins, lists and pulls with a member's rights.
    who = ("mara", "Secret-123456")
    assert httpx.get(f"{two.url}/api/v2.0/users/current", auth=who).json()["username"] == "mara"
    listed = httpx.get(f"{two.url}/api/v2.0/projects/library/repositories/app/artifacts", auth=two.admin)
    assert [item["digest"] for item in listed.json()] == [digest]
    told = sites.status(two)
    assert told["role"] == "standby"
    assert told["lag_seconds"] < 30
    # Every door says where writes go.
    for method, path in (
        ("POST", "/v2/library/app/blobs/uploads/"),
        ("DELETE", f"/v2/library/app/manifests/{digest}"),
        ("POST", "/api/v2.0/projects"),
        ("POST", "/api/v2.0/system/gc/schedule"),
    ):
        body = {"project_name": "x", "schedule": {"type": "Manual"}}
        answer = httpx.request(method, two.url + path, auth=two.admin, json=body)
        assert answer.status_code == 503, (path, answer.text)
        assert one.url in answer.json()["errors"][0]["message"]
    for command in (("gc",), ("user", "create", "eve"), ("project", "create", "mine")):
        done = two.cli(*command, stdin="Secret-123456\n")
        assert done.returncode == 1
        assert done.stderr.startswith("seawall: this site is a standby")
    assert httpx.get(f"{two.url}/readyz").status_code == 200
    assert httpx.get(f"{two.url}/readyz?writes=1").status_code == 503
    assert httpx.get(f"{one.url}/readyz?writes=1").status_code == 200
    metrics = httpx.get(f"{two.url}/metrics")
    assert 'seawall_dr_role{role="standby"} 1.0' in metrics.text
    sites.caught_up(two, one)


def test_who_people_and_programs_are_at_the_standby(sites: Sites, tmp_path: Path) -> None:
    one, two = active(sites)
    directory = Slapd(tmp_path / "slapd", free_port())
    directory.root.mkdir()
    with open_issuer() as issuer:
        directory.start()
        try:
            made = Identity(one, directory, issuer)
            sites.caught_up(two, one)
            made.check(two)
            # What would have to be written is refused, and says where it goes; nobody gets "wrong password".
            refused = [
                httpx.put(
                    f"{two.url}/api/v2.0{SOURCES}/{made.mark}", auth=two.admin, json={"enabled": False}
                ),
                httpx.delete(f"{two.url}/api/v2.0{SOURCES}/{made.mark}", auth=two.admin),
            ]
            newcomer = (f"{made.mark}new", "Newcomer-12345")
            directory.add_user(*newcomer)
            refused.append(httpx.get(f"{two.url}/api/v2.0/users/current", auth=newcomer, timeout=60))
            for answer in refused:
                assert answer.status_code == 503, answer.text
                assert one.url in answer.text
            done = two.cli("source", "remove", made.mark)
            assert done.returncode == 1
            assert done.stderr.startswith("seawall: this site is a standby")
            assert two.cli("user", "unlink", f"{made.mark}local", made.mark).returncode == 1
            sites.caught_up(two, one)
            made.check(one)
        finally:
            directory.stop()


def test_switch_and_back_without_loss(sites: Sites) -> None:
    one, two = active(sites)
    one.push("library/app", "before", noise())
    done = two.cli("dr", "promote", "--json")
    assert done.returncode == 0, done.stderr + two.log.read_text()[-2000:]
    assert two.tag("library/app", "before").status_code == 200
    two.push("library/app", "after", noise())
    with pytest.raises(httpx.HTTPStatusError):
        one.push("library/app", "stale", noise())
    assert active(sites) == (two, one)
    sites.caught_up(one, two)
    # From the active's side: the other one is made active.
    answer = two.api("POST", "/dr/failback").json()
    assert answer["role"] in ("fenced", "standby")
    assert active(sites) == (one, two)
    one.push("library/app", "home", noise())
    sites.caught_up(two, one)
    assert damaged_blobs(two) == damaged_blobs(one) == []
    assert sites.status(one)["divergences"] == 0


def test_what_only_the_dead_active_had_is_accounted_for(sites: Sites) -> None:
    one, two = active(sites)
    for tag in ("both", "moved", "deleted"):
        one.push("library/left", tag, noise())
    sites.caught_up(two, one)
    two.kill()
    # Acknowledged, and never received by the other site.
    lost = one.push("library/left", "lost", noise())
    moved = one.push("library/left", "moved", noise())
    both = one.push("library/left", "both", noise())
    one.create_user("nina", "Secret-123456")
    one.api("POST", "/projects", json={"project_name": "late", "metadata": {"public": "false"}})
    one.add_member("late", "nina", "developer")
    late = one.push("late/app", "v1", noise())
    one.api("DELETE", "/projects/library/repositories/left/artifacts/deleted/tags/deleted")
    one.kill()
    two.start()
    # The witness still has the lease of the dead site; the promotion waits for its end.
    done = two.cli("dr", "promote", "--json")
    assert done.returncode == 0, done.stderr
    assert two.tag("library/left", "lost").status_code == 404
    stays = two.push("library/left", "both", noise())
    two.api("POST", "/projects", json={"project_name": "mine", "metadata": {"public": "true"}})
    one.start()
    assert active(sites) == (two, one)
    sites.caught_up(one, two)
    for site in (one, two):
        for name, tag, digest in (
            ("library/left", "lost", lost),
            ("library/left", "moved", moved),
            ("library/left", "both", stays),
            ("library/left", both, both),
            ("late/app", "v1", late),
        ):
            assert site.tag(name, tag).headers.get("docker-content-digest") == digest, (name, tag)
        assert damaged_blobs(site) == []
        found = httpx.get(f"{site.url}/api/v2.0/projects/late/members", auth=site.admin).json()
        assert "nina" in {item["entity_name"] for item in found}
    outcomes = {(item["kind"], item["name"]): item for item in two.api("GET", "/dr/divergences").json()}
    assert outcomes["tag", "library/left:lost"]["outcome"] == "carried"
    assert outcomes["tag", "library/left:moved"]["outcome"] == "carried"
    assert outcomes["tag", "library/left:both"]["outcome"] == "kept"
    assert outcomes["tag", "library/left:both"]["detail"]["active"] == stays
    assert outcomes["tags", "library/left:deleted"]["outcome"] == "listed"
    assert outcomes["users", "nina"]["outcome"] == "carried"
    assert outcomes["projects", "late"]["outcome"] == "carried"
    assert "password_hash" not in outcomes["users", "nina"]["detail"]["content"]
    told = one.cli("dr", "divergences", "--json")
    assert len(json.loads(told.stdout)) == len(outcomes)


def test_without_a_witness_an_answering_peer_or_a_word(tmp_path: Path) -> None:
    pair = Sites(tmp_path, (None, None))
    try:
        pair.start()
        one, two = pair.a, pair.b
        one.push("library/app", "v1", noise())
        pair.caught_up(two, one)
        assert two.api("POST", "/dr/failback").json()["role"] == "active"
        assert active(pair) == (two, one)
        # Both are told at one time: never are both active.
        refused = two.cli("dr", "promote")
        assert refused.returncode == 1
        assert "is the active one" in refused.stderr
        two.kill()
        told = one.cli("dr", "promote")
        assert told.returncode == 1
        assert "--force" in told.stderr
        done = one.cli("dr", "promote", "--force", "--json")
        assert json.loads(done.stdout)["epoch"] == 3, done.stderr
        one.push("library/app", "v2", noise())
        faults = json.loads(one.cli("ha", "check", "--json").stdout)["faults"]
        assert "dr-peer" in {fault["kind"] for fault in faults}
        # It asks its peer when it starts, and does not take a single write.
        two.start()
        with pytest.raises(httpx.HTTPStatusError):
            two.push("library/app", "stale", noise())
        assert active(pair) == (one, two)
        pair.caught_up(two, one)
        # A third with another master key is told so.
        strange = Site(tmp_path / "c")
        strange.environment |= {
            **two.environment,
            "SEAWALL_DATA_DIR": str(tmp_path / "c"),
            "SEAWALL_DR__PEER": one.url,
            "SEAWALL_MASTER_KEY": "A" * 43 + "=",
        }
        strange.launch()
        try:
            wait(lambda: "different master keys" in strange.log.read_text())
        finally:
            strange.kill()
    finally:
        pair.close()
