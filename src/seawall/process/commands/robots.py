"""`seawall robot`: whose tokens stand for a robot's secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.access import robots
from seawall.access.identities import has_unlinked
from seawall.access.principal import EVERYONE
from seawall.access.trusted_issuers import TrustedIssuer, known, parse
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, NotFoundError
from seawall.process.commands.audited import audited
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_db, with_keys
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed

robot_app = typer.Typer(no_args_is_help=True, help="Set whose tokens a robot accepts in place of its secret.")
RobotArgument = Annotated[str, typer.Argument(help="a robot's name without its prefix: ci, or project+ci")]
IssuerOption = Annotated[str, typer.Option("--issuer", help="the issuer's URL, as its tokens have it (iss)")]


@robot_app.command("trust")
def robot_trust(
    robot: RobotArgument,
    issuer: IssuerOption,
    audience: Annotated[str, typer.Option("--audience", help="the audience that its tokens must have (aud)")],
    claim: Annotated[
        list[str],
        typer.Option(
            "--claim",
            help="NAME=PATTERN that its tokens must match; * within a part, ** across parts; may be repeated",
        ),
    ],
    jwks: Annotated[
        Path | None,
        typer.Option("--jwks", help="file of the issuer's keys; otherwise found by OpenID discovery"),
    ] = None,
    any_address: Annotated[
        bool,
        typer.Option("--any-address", help="a token shown as a password may come again from any address"),
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Accept tokens of an issuer in place of a robot's secret.

    Replaces what was set for the same issuer and audience.

    Example: seawall robot trust ci --issuer https://ci.example.com --audience seawall --claim "sub=acme/*"
    """
    conditions: dict[str, list[str]] = {}
    for item in claim:
        name, equals, pattern = item.partition("=")
        if not equals:
            raise ConfigError(f"--claim {item}: must be NAME=PATTERN")
        conditions.setdefault(name, []).append(pattern)
    wanted: dict[str, Any] = {
        "issuer": issuer,
        "audience": audience,
        "claims": conditions,
        "any_address": any_address,
    }
    if jwks is not None:
        try:
            wanted["jwks"] = json.loads(jwks.read_text())
        except ValueError:
            raise ConfigError(f"{jwks}: is not JSON") from None
    (added,) = parse([wanted])

    def change(found: list[TrustedIssuer]) -> list[TrustedIssuer]:
        kept = [item for item in found if (item.issuer, item.audience) != (issuer, audience)]
        return [*kept, added]

    said = f"trust tokens of {issuer} for {audience}"
    _change(registry_of(config, data_dir), robot, said, change)
    print(f"robot {robot} trusts {issuer}")


@robot_app.command("distrust")
def robot_distrust(
    robot: RobotArgument, issuer: IssuerOption, config: ConfigOption = None, data_dir: DataOption = None
) -> None:
    """Accept no more tokens of an issuer for a robot.

    Example: seawall robot distrust ci --issuer https://ci.example.com
    """

    def change(found: list[TrustedIssuer]) -> list[TrustedIssuer]:
        kept = [item for item in found if item.issuer != issuer]
        if len(kept) == len(found):
            raise NotFoundError(f"robot {robot} does not trust {issuer}")
        return kept

    _change(registry_of(config, data_dir), robot, f"trust no tokens of {issuer}", change)
    print(f"robot {robot} no longer trusts {issuer}")


@robot_app.command("trusted")
def robot_trusted(
    robot: RobotArgument,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List the issuers that a robot trusts.

    Example: seawall robot trusted ci --output json
    """
    settings = registry_of(config, data_dir)
    row = with_db(settings, lambda db: db.read(lambda c: robots.by_name(c, robot)))
    found = known(row.trusted_issuers)
    if in_json(as_json, output):
        print(json.dumps([item.document() for item in found]))
        return
    rows = [
        (
            item.issuer,
            item.audience,
            ", ".join(f"{name}={pattern}" for name, some in item.claims.items() for pattern in some),
            "of a file" if item.jwks else "by discovery",
        )
        for item in found
    ]
    listed(("issuer", "audience", "claims", "keys"), rows, False)


def _change(settings: Settings, robot: str, said: str, change: Any) -> None:
    def trust(connection: Any) -> None:
        row = robots.by_name(connection, robot)
        changed = parse([item.document() for item in change(known(row.trusted_issuers))])
        robots.trust(connection, row.id, changed, actor=EVERYONE)

    async def run(db: Database, keys: KeyRing) -> None:
        row = await db.read(lambda c: robots.by_name(c, robot))
        configuration = Configuration(db, keys, settings, has_other_users=has_unlinked)
        full = (await configuration.get("robot_name_prefix")) + robot
        entry = await audited(configuration, "update", "robot", full, said, row.project_id)
        await db.write(trust, also=entry)

    with_keys(settings, run)
