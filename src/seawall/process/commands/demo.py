"""`seawall demo`: something to push, for the first minutes with a registry."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, RegistryError
from seawall.kernel.names import check_name, is_tag
from seawall.process.commands.common import ConfigOption, DataOption, registry_url, settings_of, writing
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, result

app = typer.Typer()


@app.command("demo")
def demo(
    repository: Annotated[str, typer.Argument(help="where to push it, project/repository")] = "library/demo",
    tag: Annotated[str, typer.Option(help="tag of the image")] = "1.0",
    url: Annotated[
        str | None, typer.Option(help="URL of the registry; otherwise the one of the settings")
    ] = None,
    user: Annotated[
        str,
        typer.Option(
            help="user who pushes; the password comes from SEAWALL_PASSWORD, or the command asks for it"
        ),
    ] = "admin",
    layout: Annotated[
        Path | None, typer.Option(help="write the image into this folder as an OCI layout, and push nothing")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Push a tiny image to a running registry, and print how to pull it.

    The image has two platforms and an SBOM, and is 6 KB in all.

    Example: seawall demo library/app --tag 1.0
    """
    wants_json = in_json(as_json, output)
    if layout is not None:
        from seawall.install.demo import write_layout

        with writing(layout):
            write_layout(layout, tag)
        result({"layout": str(layout), "tag": tag}, wants_json, f"written: oci:{layout}:{tag}")
        return
    if ":" in repository:
        raise ConfigError(f"{repository}: give the tag with --tag")
    try:
        check_name(repository)
    except RegistryError:
        raise ConfigError(f"{repository}: must be project/repository, in lower case") from None
    if not is_tag(tag):
        raise ConfigError(f"{tag!r} is not a tag")
    address = registry_url(url or _address(settings_of(config, data_dir)))
    host = address.partition("://")[2]
    password = _password(user, address)
    digest = asyncio.run(_push(address, user, password, repository, tag, named=url is not None))
    if wants_json:
        result({"image": f"{host}/{repository}:{tag}", "digest": digest}, True)
        return
    plain = " --tls-verify=false" if address.startswith("http:") else ""
    print(f"pushed: {host}/{repository}:{tag} ({digest})")
    print(f"look:   skopeo inspect --raw{plain} docker://{host}/{repository}:{tag}")
    print(f"pull:   docker pull {host}/{repository}:{tag}")
    print(f"run:    docker run --rm {host}/{repository}:{tag}")


async def _push(address: str, user: str, password: str, repository: str, tag: str, *, named: bool) -> str:
    from seawall.features.replication.client import RegistryClient
    from seawall.features.replication.login import Credentials
    from seawall.features.replication.remote import NO_ANSWER, RemoteError
    from seawall.install.demo import push

    client = RegistryClient(address, Credentials(user, password), stay=True)
    try:
        return (await push(client, repository, tag)).index.digest
    except RemoteError as error:
        if error.status == 404 and "NAME_UNKNOWN" in str(error):
            project = repository.partition("/")[0]
            raise ConfigError(f"{error}; make it with `seawall project create {project}`") from None
        if error.status == 0 and not error.content and not named and NO_ANSWER not in str(error):
            raise ConfigError(f"{error}; --url names a registry elsewhere") from None
        raise
    finally:
        await client.close()


def _address(settings: Settings) -> str:
    if settings.external_url:
        return settings.external_url
    scheme = "https" if settings.http.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http.host, settings.http.host)  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http.port}"


def _password(user: str, address: str) -> str:
    # Never an argument: the process list shows those to everyone on the host.
    given = os.environ.get("SEAWALL_PASSWORD")
    if given is not None:
        return given
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {user} at {address}", hide_input=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise ConfigError(f"no password of {user}: set SEAWALL_PASSWORD, or give it on standard input")
    return line
