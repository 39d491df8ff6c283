"""`seawall source`, and `seawall user link`, `unlink` and `identities`."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from seawall.access import identities, users
from seawall.access.identities import GONE
from seawall.access.sources import LDAP, Change, Source, Sources
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.together import Also
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, InvalidError, NotFoundError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.audited import audited
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_db, with_keys
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed
from seawall.process.commands.people import UserArgument, user_app

T = TypeVar("T")
source_app = typer.Typer(no_args_is_help=True, help="Manage further sources of identity: LDAP and OpenID.")
NameArgument = Annotated[str, typer.Argument(help="the source's name")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="an item of its configuration, without ldap_ or oidc_: url=ldaps://..."),
]
SecretOption = Annotated[
    str | None,
    typer.Option("--secret", help="the item whose value is read as a line from standard input"),
]
TitleOption = Annotated[str | None, typer.Option("--title", help="what the sign-in page calls it")]
PositionOption = Annotated[int | None, typer.Option("--position", help="its place in the order")]
PrefixOption = Annotated[
    str | None, typer.Option("--prefix", help="what names of its users begin with; the source's name and -")
]
EnabledOption = Annotated[bool | None, typer.Option("--enable/--disable", help="whether it lets users in")]
GroupOption = Annotated[
    str | None, typer.Option("--admin-group", help="the group whose members administer the registry")
]


def _sources(settings: Settings, work: Callable[[Sources], Awaitable[T]]) -> T:
    async def run(db: Database, keys: KeyRing) -> T:
        return await work(_open(settings, db, keys))

    return with_keys(settings, run)


def _change(
    settings: Settings, operation: str, name: str, said: str, work: Callable[[Sources, Also], Awaitable[T]]
) -> T:
    async def run(db: Database, keys: KeyRing) -> T:
        configuration = _configuration(settings, db, keys)
        entry = await audited(configuration, operation, "configuration", name, said)
        return await work(_open(settings, db, keys), entry)

    return with_keys(settings, run)


def _configuration(settings: Settings, db: Database, keys: KeyRing) -> Configuration:
    return Configuration(db, keys, settings, has_other_users=identities.has_unlinked)


def _open(settings: Settings, db: Database, keys: KeyRing) -> Sources:
    return Sources(db, _configuration(settings, db, keys), keys, peers=bool(settings.peers.urls))


def _items(given: list[str] | None, secret: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item}: must be NAME=VALUE")
        if name.endswith(("password", "secret")):
            # The process list shows arguments to everyone on the host.
            raise ConfigError(f"--set {name}: give it by --secret {name}, and the value on standard input")
        found[name] = value
    if secret is not None:
        if sys.stdin.isatty():
            found[secret] = str(typer.prompt(secret, hide_input=True))
        else:
            found[secret] = sys.stdin.readline().rstrip("\n")
        if not found[secret]:
            raise ConfigError(f"no {secret}: standard input is empty")
    return found


@source_app.command("add")
def source_add(
    name: NameArgument,
    kind: Annotated[str, typer.Option("--kind", help="ldap or oidc")],
    set_: SetOption = None,
    secret: SecretOption = None,
    title: TitleOption = None,
    position: PositionOption = None,
    prefix: PrefixOption = None,
    admin_group: GroupOption = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Add a directory or a provider, as the last in the order.

    Example: seawall source add corp --kind oidc --set endpoint=https://id.example.org --set client_id=seawall
    """
    settings = registry_of(config, data_dir)
    change = Change(title, position, None, prefix, admin_group, _items(set_, secret))
    _change(
        settings, "create", name, f"add source {name}", lambda s, also: s.add(name, kind, change, also=also)
    )
    print(f"source {name} added")


@source_app.command("change")
def source_change(
    name: NameArgument,
    set_: SetOption = None,
    secret: SecretOption = None,
    title: TitleOption = None,
    position: PositionOption = None,
    prefix: PrefixOption = None,
    admin_group: GroupOption = None,
    enabled: EnabledOption = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Change a source: only what is given.

    Example: seawall source change corp --disable
    """
    settings = registry_of(config, data_dir)
    change = Change(title, position, enabled, prefix, admin_group, _items(set_, secret))
    _change(
        settings, "update", name, f"change source {name}", lambda s, also: s.change(name, change, also=also)
    )
    print(f"source {name} changed")


@source_app.command("remove")
def source_remove(name: NameArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Remove a source and its groups; its users stay, and can be linked to another source.

    Example: seawall source remove corp
    """
    settings = registry_of(config, data_dir)
    found = _change(
        settings, "delete", name, f"remove source {name}", lambda s, also: s.remove(name, also=also)
    )
    print(f"source {name} removed; {len(found)} users were of it")


@source_app.command("list")
def source_list(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List the sources in their order, without their secrets.

    Example: seawall source list
    """
    settings = registry_of(config, data_dir)

    async def work(sources: Sources) -> list[tuple[Source, dict[str, Any]]]:
        return [(item, sources.shown(item)) for item in await sources.further()]

    wants_json = in_json(as_json, output)
    listed(
        ("source", "kind", "title", "position", "enabled", "prefix", "admin group", "configuration"),
        [
            (
                item.name,
                item.kind,
                item.title,
                item.position,
                item.enabled,
                item.prefix,
                item.admin_group,
                items if wants_json else json.dumps(items),
            )
            for item, items in _sources(settings, work)
        ],
        wants_json,
        lambda value: ("yes" if value else "") if isinstance(value, bool) else str(value),
    )


@source_app.command("test")
def source_test(name: NameArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Ask a source whether it answers.

    Example: seawall source test corp
    """
    settings = registry_of(config, data_dir)

    # Imported here: what speaks to directories and providers takes long to import, for `seawall user list`.
    from seawall.access.ldap import Directory
    from seawall.access.oidc import OidcService

    async def run(db: Database, keys: KeyRing) -> None:
        sources = _open(settings, db, keys)
        found = await sources.get(name)
        if found.kind == LDAP:
            directory = Directory(db, sources)
            await directory.ping(await directory.settings(name))
        else:
            provider = OidcService(db, sources, keys)
            await provider.ping(found.values["endpoint"], found.values["verify_cert"])

    with_keys(settings, run)
    print(f"source {name} answers")


def _user_id(connection: Any, username: str) -> int:
    found = users.find(connection, None, username)
    if found is None:
        raise NotFoundError(f"user {username} not found")
    return found[0]


@user_app.command("link")
def user_link(
    username: UserArgument,
    source: Annotated[str, typer.Argument(help="the source's name; default: what auth_mode names")],
    subject: Annotated[
        str | None, typer.Option("--subject", help="what the source knows the user by: sub, entryuuid:...")
    ] = None,
    known_as: Annotated[
        str | None, typer.Option("--as", help="the user's name in a directory, which is asked for it")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Let a user sign in through a source too, and keep its roles, robots and history.

    Example: seawall user link alice corp --subject 248289761001
    """
    settings = registry_of(config, data_dir)
    if (subject is None) == (known_as is None):
        raise InvalidError("give either --subject or --as")
    name = "" if source == "default" else source
    from seawall.access.ldap import Directory
    from seawall.access.linking import identity_in
    from seawall.access.oidc import OidcService

    async def run(db: Database, keys: KeyRing) -> str:
        sources = _open(settings, db, keys)
        user_id = await db.read(lambda c: _user_id(c, username))
        directory, provider = Directory(db, sources), OidcService(db, sources, keys)
        issuer, found = await identity_in(sources, directory, provider, name, subject, known_as)
        said = f"link {username} to {found} of {identities.shown(name)}"
        entry = await audited(_configuration(settings, db, keys), "update", "user", username, said)
        await db.write(lambda c: identities.link(c, user_id, name, issuer, found), also=entry)
        return found

    print(f"user {username} linked to {with_keys(settings, run)} of {identities.shown(name)}")


@user_app.command("unlink")
def user_unlink(
    username: UserArgument,
    source: Annotated[str, typer.Argument(help="the source's name; default: what auth_mode names")],
    subject: Annotated[str | None, typer.Option("--subject", help="only this identity of the source")] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Take a source's identity from a user, whose sessions and logins end.

    Example: seawall user unlink alice corp
    """
    settings = registry_of(config, data_dir)
    name = "" if source == "default" else source

    async def run(db: Database, keys: KeyRing) -> None:
        said = f"unlink {username} from {identities.shown(name)}"
        entry = await audited(_configuration(settings, db, keys), "update", "user", username, said)
        await db.write(lambda c: identities.unlink(c, _user_id(c, username), name, subject), also=entry)

    with_keys(settings, run)
    print(f"user {username} unlinked from {identities.shown(name)}")


@user_app.command("identities")
def user_identities(
    username: UserArgument,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List the identities that a user has in sources.

    Example: seawall user identities alice
    """

    async def run(db: Database) -> list[identities.Link]:
        return await db.read(lambda c: identities.of_user(c, _user_id(c, username)))

    found = with_db(registry_of(config, data_dir), run)
    listed(
        ("source", "issuer", "subject"),
        [(item.source or "default", item.issuer, item.subject) for item in found if item.source != GONE],
        in_json(as_json, output),
    )
