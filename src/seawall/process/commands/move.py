"""`seawall migrate-from-registry`: what any OCI registry has, brought into a Seawall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from seawall.features.replication.adapter import RemoteRegistry
from seawall.features.replication.adapters import ADAPTERS, open_adapter
from seawall.install import registry_move
from seawall.kernel.errors import ConfigError
from seawall.process.commands.bars import bars
from seawall.process.commands.common import password_of, registry_url, writing
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, result

app = typer.Typer()


@app.command("migrate-from-registry")
def migrate_from_registry(
    target: Annotated[str, typer.Option(help="the Seawall's address, https://host")],
    source: Annotated[str | None, typer.Option(help="the other registry's address, https://host")] = None,
    tree: Annotated[
        Path | None, typer.Option(help="instead of --source: the folder (rootdirectory) of a docker-registry")
    ] = None,
    kind: Annotated[
        str, typer.Option("--type", help=f"kind of the source: {', '.join(sorted(ADAPTERS))}")
    ] = "docker-registry",
    repository: Annotated[
        list[str] | None,
        typer.Option(
            help="only these: a name, or a pattern such as team/**; needed where the source has no catalog"
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(help="put all below this project; otherwise names stay, and NAME becomes library/NAME"),
    ] = None,
    untagged: Annotated[
        bool, typer.Option(help="also copy manifests without a tag; only with --tree")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="copy nothing; print what is missing")] = False,
    state: Annotated[
        Path, typer.Option(help="file that remembers unfinished uploads for the next run")
    ] = Path("seawall-migration.json"),
    source_user: Annotated[
        str | None, typer.Option(help="user who reads the source; otherwise it is read without a login")
    ] = None,
    source_password_file: Annotated[
        Path | None,
        typer.Option(help="file of the password; otherwise SEAWALL_SOURCE_PASSWORD, or the command asks"),
    ] = None,
    target_user: Annotated[
        str, typer.Option(help="user who pushes to the target; an administrator also makes projects")
    ] = "admin",
    target_password_file: Annotated[
        Path | None,
        typer.Option(help="file of the password; otherwise SEAWALL_TARGET_PASSWORD, or the command asks"),
    ] = None,
    insecure: Annotated[bool, typer.Option(help="accept any TLS certificate")] = False,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Bring repositories from any OCI registry, or from a docker-registry's folder; can be run again.

    Example: seawall migrate-from-registry --source https://old.example.com --target https://registry.example.com
    """
    if (source is None) == (tree is None):
        raise ConfigError("give either --source or --tree")
    if untagged and tree is None:
        raise ConfigError("--untagged needs --tree: no registry lists over its API what has no tag")
    target = registry_url(target)
    source = registry_url(source) if source is not None else None
    secret = password_of(target_user, target, "SEAWALL_TARGET_PASSWORD", target_password_file)
    to = RemoteRegistry(0, "target", "seawall", target, target_user, secret, insecure)
    other = None
    if source is not None:
        password = ""
        if source_user:
            password = password_of(source_user, source, "SEAWALL_SOURCE_PASSWORD", source_password_file)
        other = RemoteRegistry(0, "source", kind, source, source_user or "", password, insecure)
    wanted = repository or ["**"]
    wants_json = in_json(as_json, output)

    def say(line: str) -> None:
        if not wants_json:
            print(line, flush=True)

    with writing(state), bars():
        outcome = asyncio.run(_run(other, tree, to, wanted, project, untagged, dry_run, state, say))
    if wants_json:
        result(asdict(outcome), True)
    elif dry_run:
        faults = len(outcome.failed)
        print(f"{outcome.repositories} repositories, {outcome.missing} tags to copy, {faults} faults")
    else:
        done = outcome.report
        print(
            f"{outcome.repositories} repositories, {done.artifacts} artifacts copied, {done.skipped} there "
            f"already, {done.blobs} blobs ({done.bytes} bytes), {len(outcome.failed)} faults"
        )
    if outcome.failed:
        raise typer.Exit(1)


async def _run(
    other: RemoteRegistry | None,
    tree: Path | None,
    to: RemoteRegistry,
    wanted: list[str],
    project: str | None,
    untagged: bool,
    dry_run: bool,
    state: Path,
    say: Callable[[str], None],
) -> registry_move.Outcome:
    target = open_adapter(to)
    adapter = open_adapter(other) if other is not None else None
    try:
        await target.ping()
        if adapter is not None:
            await adapter.ping()
            origin: registry_move.Origin = registry_move.ApiOrigin(adapter)
        else:
            assert tree is not None
            origin = registry_move.TreeOrigin(tree)
        return await registry_move.move(
            origin,
            target,
            wanted=wanted,
            project=project,
            untagged=untagged,
            dry_run=dry_run,
            state=registry_move.State(None if dry_run else state),
            say=say,
        )
    finally:
        await target.close()
        if adapter is not None:
            await adapter.close()
