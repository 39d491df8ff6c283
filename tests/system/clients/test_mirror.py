"""Seawall as the mirror of two registries: containerd, skopeo, plain requests; upstreams up and down."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.clients import Shell
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.waiting import until

PROGRAMS = ("containerd", "ctr", "skopeo")

IMAGE = "application/vnd.oci.image."
ADMIN = ("admin", PASSWORD)


@dataclass
class Site:
    """Seawall before two registries: `hub` is private and stands before Docker Hub, `quay` is public."""

    registry: Registry
    hub: DockerRegistry
    quay: DockerRegistry
    # Digests of library/app:1 at the Hub, of team/app:1 at Quay, and of the hosted project team's app:1.
    app: str
    etcd: str
    hosted: str

    def get(self, path: str, auth: tuple[str, str] | None = None, /, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.registry.url}/v2/{path}", auth=auth, headers=headers, timeout=30)


def push(url: str, repository: str, text: str, auth: tuple[str, str] | None = None) -> str:
    """An image whose one layer is a file with a text; its digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("text")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    roots = {"type": "layers", "diff_ids": [digest_of(packed.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": roots}).encode()
    with httpx.Client(base_url=f"{url}/v2/{repository}", auth=auth) as client:
        for data in (layer, config):
            place = httpx.URL(client.post("/blobs/uploads/").headers["Location"])
            place = place.copy_merge_params({"digest": digest_of(data)})
            assert client.put(place, content=data).is_success
        described = [
            {"mediaType": IMAGE + kind, "digest": digest_of(data), "size": len(data)}
            for kind, data in (("config.v1+json", config), ("layer.v1.tar+gzip", layer))
        ]
        manifest = {"schemaVersion": 2, "mediaType": IMAGE + "manifest.v1+json"}
        payload = json.dumps(manifest | {"config": described[0], "layers": described[1:]}).encode()
        answer = client.put(
            "/manifests/1", content=payload, headers={"Content-Type": IMAGE + "manifest.v1+json"}
        )
        assert answer.is_success, answer.text
    return digest_of(payload)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mirror")
    upstreams = []
    for name in ("hub", "quay"):
        (folder / name).mkdir()
        upstreams.append(DockerRegistry(folder / name))
    hub, quay = upstreams
    mirror = {"namespaces": {"quay.io": "quay"}, "hosts": {"localhost": "hub"}}
    settings = {f"SEAWALL_MIRROR__{name.upper()}": json.dumps(value) for name, value in mirror.items()}
    registry = Registry(folder / "data", {**settings, "SEAWALL_PROXY__FRESH_SECONDS": "0"})
    try:
        for upstream in upstreams:
            upstream.start()
        registry.start()
        for name, upstream, kind in (("hub", hub, "docker-hub"), ("quay", quay, "docker-registry")):
            registry.api("POST", "/registries", json={"name": name, "type": kind, "url": upstream.url})
            found = registry.api("GET", f"/registries?q=name={name}").json()[0]["id"]
            public = {"public": str(name == "quay").lower()}
            project = {"project_name": name, "registry_id": found, "metadata": public}
            registry.api("POST", "/projects", json=project)
        registry.create_project("team", public=True)
        yield Site(
            registry,
            hub,
            quay,
            push(hub.url, "library/app", "of the Hub"),
            push(quay.url, "team/app", "of Quay"),
            push(registry.url, "team/app", "hosted", ADMIN),
        )
    finally:
        registry.close()
        for upstream in upstreams:
            upstream.stop()


@dataclass
class Containerd:
    """`ctr` bound to a daemon of the tests' own."""

    shell: Shell
    socket: Path

    def pull(self, name: str, hosts: Path, namespace: str, *options: str) -> str:
        """Pull and unpack an image; its digest. `namespace`: where no content of others is seen."""
        ctr = ("ctr", "--address", self.socket, "--namespace", namespace, "images")
        self.shell(*ctr, "pull", "--hosts-dir", hosts, "--snapshotter", "native", *options, name)
        listed = self.shell(*ctr, "ls", f"name=={name}")
        return next(word for word in listed.split() if word.startswith("sha256:"))

    def fails(self, name: str, hosts: Path, *options: str) -> str:
        ctr = ("ctr", "--address", self.socket, "--namespace", "failing", "images")
        return self.shell.failed(
            *ctr, "pull", "--hosts-dir", hosts, "--snapshotter", "native", *options, name
        )


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Containerd; gives its socket."""
    folder = tmp_path_factory.mktemp("ctrd")
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{folder}/c.sock"\n'
        '[plugins."io.containerd.metadata.v1.bolt"]\n  content_sharing_policy = "isolated"\n'
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(folder / "config.toml")], stdout=log, stderr=log
        )
    try:
        until(lambda: "successfully booted" in (folder / "log").read_text())
        yield folder / "c.sock"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def containerd(shell: Shell, daemon: Path) -> Containerd:
    return Containerd(shell, daemon)


def hosts_file(folder: Path, name: str, text: str) -> Path:
    """A `--hosts-dir` with a file for one registry; the folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / "hosts.toml").write_text(text)
    return folder


def printed(site: Site, client: str, url: str | None = None) -> str:
    done = site.registry.cli("mirror-config", client, "--url", url or site.registry.url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_containerd_pulls_all_by_one_file(site: Site, containerd: Containerd, tmp_path: Path) -> None:
    hosts = hosts_file(tmp_path / "certs.d", "_default", printed(site, "containerd"))
    login = ("--user", f"admin:{PASSWORD}")
    assert containerd.pull("docker.io/library/app:1", hosts, "up", *login) == site.app
    # Here there is a project called team with an app:1, and it does not answer for Quay.
    assert containerd.pull("quay.io/team/app:1", hosts, "up") == site.etcd
    # The project is private, and a namespace opens nothing.
    assert "hub/library/app" in site.get("library/app/manifests/1?ns=docker.io").headers["WWW-Authenticate"]
    containerd.fails("docker.io/library/app:1", hosts)
    # A path that names the project, as many have it in their files.
    override = f'[host."{site.registry.url}/v2/quay"]\n  capabilities = ["pull", "resolve"]\n'
    named = hosts_file(tmp_path / "override", "quay.io", override + "  override_path = true\n")
    assert containerd.pull("quay.io/team/app:1", named, "override") == site.etcd
    for project, repository in (("hub", "library%252Fapp"), ("quay", "team%252Fapp")):
        # What was pulled becomes part of the project some moments later.
        place = f"/projects/{project}/repositories/{repository}/artifacts"
        until(lambda place=place: site.registry.api("GET", place).json())  # type: ignore[misc]
    for upstream in (site.hub, site.quay):
        upstream.stop()
    try:
        assert containerd.pull("docker.io/library/app:1", hosts, "down", *login) == site.app
        assert containerd.pull("quay.io/team/app:1", hosts, "down") == site.etcd
        assert site.get("team/other/manifests/1?ns=quay.io").status_code == 503
    finally:
        for upstream in (site.hub, site.quay):
            upstream.start()


def test_skopeo_by_registries_conf(site: Site, shell: Shell, tmp_path: Path) -> None:
    """One mirror that names the project, as is printed for CRI-O, and one at the host alias."""
    conf = tmp_path / "registries.conf"
    skopeo = ("skopeo", "--registries-conf", conf)
    conf.write_text(printed(site, "crio"))
    shell("skopeo", "login", "--tls-verify=false", "-u", "admin", "-p", PASSWORD, site.registry.host)
    for name, digest in (("docker.io/library/app:1", site.app), ("quay.io/team/app:1", site.etcd)):
        shell(*skopeo, "copy", f"docker://{name}", f"dir:{tmp_path / digest}")
        assert digest_of((tmp_path / digest / "manifest.json").read_bytes()) == digest
    alias = f"localhost:{site.registry.port}"
    conf.write_text(
        '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
        f'[[registry.mirror]]\nlocation = "{alias}"\ninsecure = true\n'
    )
    copy = (*skopeo, "copy", "docker://docker.io/app:1", f"dir:{tmp_path / 'alias'}")
    shell.failed(*copy)
    shell("skopeo", "login", "--tls-verify=false", "-u", "admin", "-p", PASSWORD, alias)
    shell(*copy)
    assert digest_of((tmp_path / "alias" / "manifest.json").read_bytes()) == site.app


def token(site: Site, host: str, scope: str, auth: tuple[str, str] | None = ADMIN) -> str:
    answer = httpx.get(
        f"{site.registry.url}/service/token", params={"scope": scope}, auth=auth, headers={"Host": host}
    )
    return str(answer.json()["token"])


def test_answers_agree_with_the_name(site: Site) -> None:
    alias = f"localhost:{site.registry.port}"
    # Docker asks for the name that it knows, at the place that the challenge says.
    challenge = site.get("library/app/manifests/1", Host=alias).headers["WWW-Authenticate"]
    assert f'realm="http://{alias}/service/token"' in challenge
    assert 'scope="repository:hub/library/app:pull"' in challenge
    bearer = {"Authorization": f"Bearer {token(site, alias, 'repository:library/app:pull')}"}
    for path in ("library/app", "app", "hub/library/app"):
        assert site.get(f"{path}/manifests/1", Host=alias, **bearer).status_code == 200
    assert site.get("hub/library/app/manifests/1", **bearer).status_code == 200
    # Elsewhere the same scope is about another repository.
    elsewhere = {"Authorization": f"Bearer {token(site, site.registry.host, 'repository:library/app:pull')}"}
    assert site.get("library/app/manifests/1", Host=alias, **elsewhere).status_code == 401
    assert site.get("library/app/manifests/1?ns=docker.io", **elsewhere).status_code == 401
    tags = site.get("library/app/tags/list?n=1&ns=docker.io", ADMIN).json()
    assert tags == {"name": "hub/library/app", "tags": ["1"]}
    referrers = site.get(f"library/app/referrers/{site.app}?ns=docker.io", ADMIN)
    assert referrers.json()["manifests"] == []
    # Anybody's token for the private project is empty.
    nothing = {"Authorization": f"Bearer {token(site, alias, 'repository:library/app:pull', None)}"}
    assert site.get("library/app/manifests/1", Host=alias, **nothing).status_code == 401


def test_namespaces_that_choose_nothing(site: Site) -> None:
    """They are keys: nobody is dialled, nothing fails, and the path says what is meant, as ever."""
    address = site.quay.url.partition("://")[2]
    for value in (
        "169.254.169.254", "localhost:1", site.quay.url, address + "/v2", "hub", "quay",
        "%00", "%ff%fe", "..%2f..", "docker.io%0d%0aX-Evil:1", "x" * 4000, "",
    ):  # fmt: skip
        answer = site.get(f"team/app/manifests/1?ns={value}")
        assert answer.headers["Docker-Content-Digest"] == site.hosted, value
        assert site.get(f"quay/team/app/manifests/1?ns={value}").headers["Docker-Content-Digest"] == site.etcd
    assert site.get("team/app/manifests/1?ns=quay.io&ns=docker.io").status_code == 400


def test_hosts_that_choose_nothing(site: Site) -> None:
    for value in (
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "hub",
        "quay.io",
        "docker.io",
    ):
        answer = site.get("team/app/manifests/1", Host=value)
        assert answer.headers["Docker-Content-Digest"] == site.hosted, value
    forwarded = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    assert site.get("team/app/manifests/1", **forwarded).headers["Docker-Content-Digest"] == site.hosted
    # Quay's content does not come from the mirror of Docker Hub.
    assert site.get("library/app/manifests/1?ns=quay.io", ADMIN, Host="localhost").status_code == 404


@pytest.mark.parametrize("path", ["team/app", "quay/team/app", "app"])
def test_pushes_never_reach_another_project(site: Site, path: str) -> None:
    """A push that says which registry it is for goes where a pull would look, and there it is refused."""
    with httpx.Client(base_url=f"{site.registry.url}/v2/{path}", auth=ADMIN) as client:
        query = {"ns": "quay.io"}
        data = b"pushed"
        at_once = {**query, "digest": digest_of(data)}
        assert client.post("/blobs/uploads/", params=query).status_code == 405
        assert client.post("/blobs/uploads/", params=at_once, content=data).status_code == 405
        mount = {**query, "mount": site.hosted, "from": "team/app"}
        assert client.post("/blobs/uploads/", params=mount).status_code == 405
        assert client.put("/manifests/2", params=query, content=b"{}").status_code == 405
    anonymous = httpx.post(f"{site.registry.url}/v2/{path}/blobs/uploads/", params={"ns": "quay.io"})
    assert anonymous.status_code == 401
    assert 'scope="repository:quay/' in anonymous.headers["WWW-Authenticate"]
    assert site.get("team/app/tags/list").json()["tags"] == ["1"]


def test_other_clients_configurations(site: Site) -> None:
    url = "https://registry.example.com"
    assert printed(site, "containerd", url).splitlines()[-2:] == [
        f'[host."{url}"]',
        '  capabilities = ["pull", "resolve"]',
    ]
    assert f'"quay.io":\n    endpoint:\n      - "{url}"' in printed(site, "k3s", url)
    assert '[registry."docker.io"]\n  mirrors = ["registry.example.com"]\n' in printed(site, "buildkit", url)
    assert json.loads(printed(site, "docker", url)) == {"registry-mirrors": ["https://localhost"]}
    host = f"localhost:{site.registry.port}"
    expected = {"registry-mirrors": [f"http://{host}"], "insecure-registries": [host]}
    assert json.loads(printed(site, "docker")) == expected
