"""`seawall mirror-config`: the client's side of a mirror."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Annotated

import typer

from seawall.features.proxycache.mirror import HUB, Mirror, Table
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, registry_url, with_db

app = typer.Typer()


class MirrorClient(StrEnum):
    """A program that pulls images and can be given a mirror."""

    containerd = "containerd"
    crio = "crio"
    docker = "docker"
    k3s = "k3s"
    buildkit = "buildkit"


@app.command("mirror-config")
def mirror_config(
    client: Annotated[MirrorClient, typer.Argument(help="containerd, crio, docker, k3s or buildkit")],
    url: Annotated[
        str | None, typer.Option("--url", help="address of this registry; otherwise external_url")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Print a client's configuration, with which it uses this registry as a mirror.

    It covers the registries that this registry has proxy-cache projects for.

    Example: seawall mirror-config containerd --url https://registry.example.com
    """
    settings = registry_of(config, data_dir)
    given = url or settings.external_url
    if not given:
        raise ConfigError("which address do clients use? give --url, or set external_url")
    address = registry_url(given)
    table = with_db(settings, lambda db: Mirror(db, settings.mirror).table())
    served = {name: project for name, project in sorted(table.chosen.items()) if project in table.upstreams}
    if not served:
        raise ConfigError("there is no proxy-cache project, so this registry is not a mirror of any other")
    print(_text(client, address, served, table, settings), end="")


def _text(
    client: MirrorClient, address: str, served: dict[str, str], table: Table, settings: Settings
) -> str:
    if client is MirrorClient.containerd:
        return _containerd(address, served)
    if client is MirrorClient.crio:
        return _crio(address, served)
    if client is MirrorClient.k3s:
        return _k3s(address, served)
    if client is MirrorClient.buildkit:
        return _buildkit(address, served)
    return _docker(address, table, settings)


def _containerd(address: str, served: dict[str, str]) -> str:
    return (
        "# /etc/containerd/certs.d/_default/hosts.toml\n"
        f"# Mirrors {', '.join(served)}. What fails here is asked of the image's own registry.\n"
        f'[host."{address}"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )


def _crio(address: str, served: dict[str, str]) -> str:
    scheme, _, host = address.partition("://")
    insecure = "insecure = true\n" if scheme == "http" else ""
    parts = ["# /etc/containers/registries.conf.d/seawall-mirror.conf\n"]
    parts += [
        f'\n[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n\n'
        f'[[registry.mirror]]\nlocation = "{host}/{project}"\n{insecure}'
        for name, project in served.items()
    ]
    return "".join(parts)


def _k3s(address: str, served: dict[str, str]) -> str:
    lines = ["# /etc/rancher/k3s/registries.yaml", "mirrors:"]
    for name in served:
        lines += [f"  {json.dumps(name)}:", "    endpoint:", f"      - {json.dumps(address)}"]
    return "\n".join(lines) + "\n"


def _buildkit(address: str, served: dict[str, str]) -> str:
    scheme, _, host = address.partition("://")
    parts = ["# /etc/buildkit/buildkitd.toml\n"]
    parts += [f'[registry."{name}"]\n  mirrors = ["{host}"]\n' for name in served]
    if scheme == "http":
        parts.append(f'[registry."{host}"]\n  http = true\n')
    return "".join(parts)


def _docker(address: str, table: Table, settings: Settings) -> str:
    """The Docker daemon has mirrors of Docker Hub only, and does not say which registry it wants."""
    if HUB not in table.chosen:
        raise ConfigError(
            "Docker can only use a mirror of Docker Hub, and there is no proxy-cache project for that"
        )
    aliases = sorted(name for name, project in settings.mirror.hosts.items() if table.is_hub(project))
    if not aliases:
        raise ConfigError(
            "Docker does not say to a mirror which registry it means: in mirror.hosts, give project "
            f"{table.chosen[HUB]} a host or a port (docs/mirror.md)"
        )
    # A name before a port: it stays when the address changes.
    alias = min(aliases, key=lambda name: name.startswith(":"))
    scheme, _, host = address.partition("://")
    if alias.startswith(":"):
        alias = re.sub(r":\d+$", "", host) + alias
    elif ":" not in alias:
        port = re.search(r":\d+$", host)
        alias += port[0] if port else ""
    content: dict[str, list[str]] = {"registry-mirrors": [f"{scheme}://{alias}"]}
    if scheme == "http":
        content["insecure-registries"] = [alias]
    return json.dumps(content, indent=2) + "\n"
