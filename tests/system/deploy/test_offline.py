"""The offline bundle on two clean hosts without a network, on shared services behind HAProxy (scheme 3)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.deploy.docs import Page
from tests.support.deploy.hosts import Host, Network
from tests.support.oci.layout import top_digest, write_layout
from tests.support.servers.postgres import PostgresNode
from tests.support.servers.redis import RedisNode
from tests.support.waiting import until

# Making a whole Debian and a bundle takes a while on a busy machine.
pytestmark = pytest.mark.timeout(900)

HOST_A, HOST_B, SERVICES, BALANCER = "10.99.7.1", "10.99.7.2", "10.99.7.3", "10.99.7.4"
PASSWORD = "Seawall-12345"
PAGE = Page("offline-shared.md")


def harbor_yml(address: str) -> str:
    """The page's harbor.yml with this site's addresses; both hosts are in one namespace, hence `host`."""
    text = PAGE.one("yaml", "external_database")
    for name, found in {
        "registry.example.com": BALANCER,
        "db.example.com": SERVICES,
        "redis.example.com": SERVICES,
        "Change-me-12345": PASSWORD,
    }.items():
        assert name in text
        text = text.replace(name, found)
    return text.replace("seawall:\n  http:\n", f"seawall:\n  http:\n    host: {address}\n    workers: 1\n")


@dataclass
class Site:
    """Two hosts and what they share."""

    network: Network
    a: Host
    b: Host
    said: dict[str, str]

    def skopeo(self, *arguments: str) -> str:
        """Run skopeo in the site."""
        return self.network.run("skopeo", "--insecure-policy", *arguments)


@pytest.fixture(scope="module")
def site(bundle: Path, debian: Path) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="seawall-site-"))
    folder.chmod(0o755)
    (folder / "shared").mkdir()
    (folder / "shared").chmod(0o777)
    network = Network(f"seawall-{os.getpid()}", [HOST_A, HOST_B, SERVICES, BALANCER])
    database = PostgresNode(folder / "postgres", host=SERVICES, port=5432)
    redis = RedisNode(host=SERVICES, port=6379, prefix=network.prefix)
    balancer = None
    hosts: list[Host] = []
    try:
        for name in "ab":
            (folder / name).mkdir()
            subprocess.run(["tar", "xf", str(debian), "-C", str(folder / name)], check=True)
        hosts = [
            Host(network, folder / "a", HOST_A, folder / "shared"),
            Host(network, folder / "b", HOST_B, folder / "shared"),
        ]
        database.init()
        database.start(prefix=network.prefix)
        database.sql("create database registry")
        redis.start()
        said = {}
        for name, host in zip("ab", hosts, strict=True):
            shutil.copy(bundle, host.root)
            host.run("set -e; cd /; " + PAGE.one("sh", "tar xzf"))
            host.write_harbor_yml(harbor_yml(host.address))
            if name == "b":
                # What the docs say: the second host gets the first one's secrets before its first run.
                shutil.copytree(folder / "a/data/secret", folder / "b/data/secret")
            said[name] = host.run(PAGE.all("sh")[2]).stdout
        for host in hosts:
            host.start_units()
        for host in hosts:
            host.wait_ready()
        command = PAGE.one("sh", "lb-config")
        for name, found in {
            "a.example.com": HOST_A,
            "b.example.com": HOST_B,
            ":80 \\": f"{BALANCER}:80 \\",
        }.items():
            command = command.replace(name, found)
        (folder / "haproxy.cfg").write_text(hosts[0].run(command).stdout)
        balancer = subprocess.Popen(
            [*network.prefix, "haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: "ok" in network.run("curl", "-s", "-m", "3", f"http://{BALANCER}/readyz", check=False))
        yield Site(network, hosts[0], hosts[1], said)
    finally:
        if balancer is not None:
            balancer.kill()
            balancer.wait()
        for host in hosts:
            host.remove()
        redis.close()
        database.stop("immediate")
        network.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def test_sbom_is_valid(bundle: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xzf", str(bundle), "-C", str(tmp_path), "--strip-components=1"], check=True)
    document = (tmp_path / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    content = json.loads(document)
    about = json.loads((tmp_path / "bundle.json").read_text())
    assert content["metadata"]["component"]["name"] == "seawall"
    # Every wheel but Seawall's own and pip's is a component, and the other way about.
    wheels = {
        path.name.partition("-")[0].lower().replace("_", "-") for path in (tmp_path / "wheels").iterdir()
    }
    purls = [component["purl"] for component in content["components"]]
    names = {
        component["name"].replace(".", "-")
        for component in content["components"]
        if component["purl"].startswith("pkg:pypi/")
    }
    assert wheels - {"seawall", "pip"} == names
    assert about["wheels"] == len(names) + 2
    # And what the portal's files were built from.
    assert any(purl.startswith("pkg:npm/react@") for purl in purls) is about["portal"]
    # Seawall's own wheel says it by itself (PEP 770).
    (wheel,) = (tmp_path / "wheels").glob("seawall-*.whl")
    with zipfile.ZipFile(wheel) as package:
        (name,) = (item for item in package.namelist() if item.endswith(".dist-info/sboms/seawall.cdx.json"))
        own = package.read(name).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(own) is None
    assert (
        any(item.get("purl", "").startswith("pkg:npm/") for item in json.loads(own)["components"])
        is (about["portal"])
    )


def test_a_changed_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xzf", str(bundle), "-C", str(tmp_path), "--strip-components=1"], check=True)
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("evil==1\n")
    done = subprocess.run([str(tmp_path / "install.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the bundle is damaged or was changed" in done.stderr


def test_nothing_outside_is_reached(site: Site) -> None:
    assert site.network.run("ip", "route") == ""
    for said in site.said.values():
        assert "is installed in /opt/seawall" in said
    assert "key made" in site.said["a"]
    assert "key made" not in site.said["b"]


def test_push_through_one_pull_through_the_other(site: Site, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "image")
    login = f"admin:{PASSWORD}"
    site.skopeo(
        "copy", "-q", "--dest-tls-verify=false", f"--dest-creds={login}", layout.source,
        f"docker://{HOST_A}/library/app:1",
    )  # fmt: skip
    for number, host in enumerate((HOST_B, BALANCER, HOST_A)):
        target = tmp_path / f"pulled-{number}"
        site.skopeo(
            "copy", "-q", "--src-tls-verify=false", f"docker://{host}/library/app:1", f"oci:{target}:latest"
        )
        assert top_digest(target) == layout.digest


def test_check_finds_no_fault(site: Site) -> None:
    done = site.a.run(PAGE.one("sh", "ha check"), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_installing_again_keeps_keys_and_changes_nothing(site: Site) -> None:
    said = site.a.run("cd /opt/bundle && ./install.sh").stdout
    assert "key made" not in said
    assert "written:" not in said
    assert said.count("key kept") == 5


def test_a_bad_key_is_named_and_nothing_changes(site: Site) -> None:
    before = (site.b.root / "opt/bundle/common/config/seawall.yml").read_bytes()
    site.b.write_harbor_yml(harbor_yml(HOST_B).replace("data_volume", "data_volum"))
    done = site.b.run("cd /opt/bundle && ./install.sh", check=False)
    assert done.returncode != 0
    assert "line 6: data_volum: unknown key; did you mean data_volume?" in done.stderr
    assert (site.b.root / "opt/bundle/common/config/seawall.yml").read_bytes() == before
    site.b.write_harbor_yml(harbor_yml(HOST_B))


def test_one_host_is_enough(site: Site, tmp_path: Path) -> None:
    site.a.kill()
    layout = write_layout(tmp_path / "image")
    site.skopeo(
        "copy", "-q", "--retry-times=3", "--dest-tls-verify=false", f"--dest-creds=admin:{PASSWORD}",
        layout.source, f"docker://{BALANCER}/library/app:2",
    )  # fmt: skip
    site.a.start_units()
    site.a.wait_ready()
    target = tmp_path / "pulled"
    site.skopeo(
        "copy", "-q", "--src-tls-verify=false", f"docker://{HOST_A}/library/app:2", f"oci:{target}:latest"
    )
    assert top_digest(target) == layout.digest


def test_other_keys_are_refused(site: Site) -> None:
    """A host that was given keys of its own must not join, and says which file is wrong."""
    other = site.b.root / "data2"
    shutil.copytree(site.b.root / "data", other)
    (other / "secret/core/csrf_key").write_text("x" * 32)
    text = harbor_yml("127.0.0.1").replace("/data\n", "/data2\n")
    (site.b.root / "opt/other.yml").write_text(text)
    site.b.run("seawall prepare -f /opt/other.yml --output /opt/other")
    done = site.b.run("timeout 60 seawall serve --config /opt/other/common/config/seawall.yml", check=False)
    assert done.returncode == 1
    assert "/data2/secret/core/csrf_key differs from the cluster's csrf key" in done.stderr
