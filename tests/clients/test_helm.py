"""helm against one instance: charts as OCI artifacts, with provenance."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.clients import Shell
from tests.support.oci.remote import Remote
from tests.support.setups import ADMIN, Setup

CHART = "application/vnd.cncf.helm.config.v1+json"
USER = "Chart Signer <charts@example.test>"


@dataclass
class Helm:
    """helm, signed in, with a chart of its own and a private project."""

    setup: Setup
    shell: Shell
    project: str

    @property
    def there(self) -> str:
        """The project, as helm writes it."""
        return f"oci://{self.setup.host}/{self.project}/charts"

    def __call__(self, *command: str | Path) -> str:
        return self.shell("helm", *command)

    def login(self, user: tuple[str, str] = ADMIN) -> None:
        host = self.setup.host
        command = ["helm", "registry", "login", "--plain-http", host, "-u", user[0], "--password-stdin"]
        self.shell(*command, stdin=user[1])

    def folder(self, name: str) -> Path:
        """A folder to pull into: helm makes none."""
        made = self.shell.home / name
        made.mkdir()
        return made

    def chart(self, version: str = "1.2.3", *flags: str | Path) -> Path:
        """Package the chart; returns the archive."""
        home = self.shell.home
        if not (home / "app").exists():
            self("create", home / "app")
        self("package", home / "app", "--version", version, "--destination", home, *flags)
        return home / f"app-{version}.tgz"

    def push(self, archive: Path) -> None:
        self("push", "--plain-http", archive, self.there)


@pytest.fixture
def helm(single: Setup, shell: Shell, record_property: Callable[[str, object], None]) -> Helm:
    build(PROGRAMS["helm"])
    record_property("client", "helm")
    for name in [name for name in shell.env if name.startswith("HELM_")]:
        del shell.env[name]
    shell.env["XDG_CACHE_HOME"] = str(shell.home / "cache")
    made = Helm(single, shell, single.project())
    made.login()
    return made


def test_push_and_pull(helm: Helm) -> None:
    archive = helm.chart()
    helm.push(archive)
    back = helm.folder("back")
    helm("pull", "--plain-http", f"{helm.there}/app", "--version", "1.2.3", "-d", back)
    assert (back / "app-1.2.3.tgz").read_bytes() == archive.read_bytes()
    url = f"{helm.setup.url}/api/v2.0/projects/{helm.project}/repositories/charts%252Fapp/artifacts"
    [artifact] = httpx.get(url, auth=ADMIN).raise_for_status().json()
    assert (artifact["type"], artifact["extra_attrs"]["version"]) == ("CHART", "1.2.3")
    values = f"{url}/1.2.3/additions/values.yaml"
    assert "replicaCount" in httpx.get(values, auth=ADMIN).raise_for_status().text


def test_show_and_template(helm: Helm) -> None:
    helm.push(helm.chart())
    chart = f"{helm.there}/app"
    assert "version: 1.2.3" in helm("show", "chart", "--plain-http", chart, "--version", "1.2.3")
    assert "replicaCount" in helm("show", "values", "--plain-http", chart)
    assert "kind: Deployment" in helm("template", "name", "--plain-http", chart)


def test_newest_of_versions(helm: Helm) -> None:
    """helm reads the tags; a plus sign of a version is an underscore there."""
    for version in ("1.2.3", "1.10.0+build.7", "2.0.0-rc.1"):
        helm.push(helm.chart(version))
    assert "1.10.0_build.7" in Remote(helm.setup.url, ADMIN).tags(f"{helm.project}/charts/app")
    chart = f"{helm.there}/app"
    assert "version: 1.10.0+build.7" in helm("show", "chart", "--plain-http", chart)
    assert "version: 1.2.3" in helm("show", "chart", "--plain-http", chart, "--version", "~1.2")


def test_provenance(helm: Helm) -> None:
    """Signed with GnuPG, the signature is a layer of the chart; a chart that was changed is refused."""
    home = helm.shell.home
    helm.shell.env["GNUPGHOME"] = str(home / "gnupg")
    (home / "gnupg").mkdir(0o700)
    gpg = ("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback")
    helm.shell(*gpg, "--quick-generate-key", USER, "rsa2048", "sign")
    helm.shell(*gpg, "--output", home / "secret.gpg", "--export-secret-keys")
    helm.shell(*gpg, "--output", home / "public.gpg", "--export")
    helm.push(helm.chart("1.0.0", "--sign", "--key", USER, "--keyring", home / "secret.gpg"))
    helm.push(helm.chart("1.1.0"))
    pull: list[str | Path] = [
        "pull",
        "--plain-http",
        "--verify",
        "--keyring",
        home / "public.gpg",
        f"{helm.there}/app",
    ]
    helm(*pull, "--version", "1.0.0", "-d", helm.folder("back"))
    assert (home / "back" / "app-1.0.0.tgz.prov").read_bytes() == (home / "app-1.0.0.tgz.prov").read_bytes()
    said = helm.shell.failed("helm", *pull, "--version", "1.1.0", "-d", helm.folder("unsigned"))
    assert "prov" in said


def test_dependencies(helm: Helm) -> None:
    helm.push(helm.chart("0.1.0"))
    home = helm.shell.home
    (home / "app").rename(home / "umbrella")
    (home / "umbrella" / "Chart.yaml").write_text(
        "apiVersion: v2\nname: umbrella\nversion: 0.1.0\ndependencies:\n"
        f'  - name: app\n    version: ">=0.1.0"\n    repository: {helm.there}\n'
    )
    helm("dependency", "update", "--plain-http", home / "umbrella")
    assert os.listdir(home / "umbrella" / "charts") == ["app-0.1.0.tgz"]


def test_guest_and_wrong_password_are_refused(helm: Helm) -> None:
    """A wrong password, and a guest's push: in words."""
    archive = helm.chart()
    host = helm.setup.host
    wrong = ["helm", "registry", "login", "--plain-http", host, "-u", "admin", "--password-stdin"]
    helm.shell.refused(*wrong, stdin="not-the-password")
    helm.login(helm.setup.member(helm.project, 3))
    assert "push" in helm.shell.refused("helm", "push", "--plain-http", archive, helm.there)
