"""`seawall user` and `seawall project`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from sqlalchemy import Connection

from seawall.access import identities
from seawall.access.access import project_by_name
from seawall.access.accounts import LocalAccounts
from seawall.access.erasure import Erasure
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConfigError, NotFoundError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_db, with_keys
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed
from seawall.registry import projects, virtual

user_app = typer.Typer(no_args_is_help=True, help="Manage users.")
project_app = typer.Typer(no_args_is_help=True, help="Manage projects.")
UserArgument = Annotated[str, typer.Argument(help="the name that the user signs in with")]


def _read_password() -> str:
    # Never an argument: the process list shows those to everyone on the host.
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise ConfigError("no password: standard input is empty, and no terminal to ask at")
    return line


@user_app.command("create")
def user_create(
    username: UserArgument,
    admin: Annotated[bool, typer.Option("--admin", help="make the user a system administrator")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Add a user; the command asks for the password, or reads it as a line from standard input.

    Example: seawall user create alice --admin < password.txt
    """
    # First: nobody should type a password for a registry that is not there, or for a name that is taken.
    settings = registry_of(config, data_dir)
    with_db(settings, lambda db: LocalAccounts(db).check_new(username))
    password = _read_password()
    with_db(settings, lambda db: LocalAccounts(db).create_user(username, password, sysadmin=admin))
    print(f"user {username} created")


@user_app.command("passwd")
def user_passwd(username: UserArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Give a user a new password.

    Example: seawall user passwd admin
    """
    settings = registry_of(config, data_dir)
    with_db(settings, lambda db: LocalAccounts(db).check_known(username))
    password = _read_password()
    with_db(settings, lambda db: LocalAccounts(db).set_password(username, password))
    print(f"password of {username} changed")


@user_app.command("remove-second-factor")
def user_remove_second_factor(
    username: UserArgument, config: ConfigOption = None, data_dir: DataOption = None
) -> None:
    """Switch off the second factor of a user who has lost it.

    Example: seawall user remove-second-factor alice
    """
    was = with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).remove_second_factor(username))
    print(f"second factor of {username} removed" if was else f"{username} has no second factor")


@user_app.command("delete")
def user_delete(username: UserArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Remove a user.

    Example: seawall user delete alice
    """
    settings = registry_of(config, data_dir)
    if settings.gdpr.audit_logs or settings.gdpr.delete_user:
        with_keys(
            settings, lambda db, keys: LocalAccounts(db).delete_user(username, Erasure.of(settings, keys))
        )
    else:
        with_db(settings, lambda db: LocalAccounts(db).delete_user(username))
    print(f"user {username} deleted")


@user_app.command("list")
def user_list(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List users.

    Example: seawall user list --output json
    """
    found = with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).list_users())
    listed(
        ("user", "administrator"),
        [(item.name, item.sysadmin) for item in found],
        in_json(as_json, output),
        lambda value: ("yes" if value else "") if isinstance(value, bool) else str(value),
    )


@project_app.command("create")
def project_create(
    name: Annotated[
        str,
        typer.Argument(help="name of the project: lower-case letters and digits, with . _ - between them"),
    ],
    public: Annotated[bool, typer.Option("--public", help="anyone may pull")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Add a project; its quota is the one that the system's settings give to new projects.

    Example: seawall project create web --public
    """
    settings = registry_of(config, data_dir)

    async def make(db: Database, keys: KeyRing) -> None:
        configuration = Configuration(db, keys, settings, has_other_users=identities.has_unlinked)
        storage = await projects.default_quota(configuration.get)()
        metadata = {"public": str(public).lower()}
        await db.write(lambda c: projects.create(c, name, owner=None, metadata=metadata, storage=storage))

    with_keys(settings, make)
    print(f"project {name} created")


@project_app.command("virtual")
def project_virtual(
    name: Annotated[str, typer.Argument(help="an empty project, which is then pulled from only")],
    members: Annotated[list[str], typer.Argument(help="projects, in the order in which they are asked")],
    newest: Annotated[
        bool, typer.Option("--newest", help="of hosted projects with a tag, the newest wins, not the first")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Let several projects, hosted and proxied, be pulled from as one.

    Example: seawall project virtual all team base hub
    """
    values = {virtual.MEMBERS: ",".join(members), virtual.ORDER: "newest" if newest else "first"}

    def make_virtual(connection: Connection) -> None:
        project = project_by_name(connection, name)
        if project is None:
            raise NotFoundError(f"project {name} not found")
        virtual.set_metadata(connection, project, values)

    with_db(registry_of(config, data_dir), lambda db: db.write(make_virtual))
    print(f"project {name} stands for {', '.join(members)}")


@project_app.command("list")
def project_list(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List projects.

    Example: seawall project list
    """
    found = with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).list_projects())
    rows = [(name, "public" if public else "private") for name, public in found]
    listed(("project", "access"), rows, in_json(as_json, output))


@project_app.command("member")
def project_member(
    project: Annotated[str, typer.Argument(help="a project's name")],
    username: UserArgument,
    role: Annotated[str, typer.Argument(help="projectAdmin, maintainer, developer, guest or limitedGuest")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Give a user a role: projectAdmin, maintainer, developer, guest or limitedGuest.

    Example: seawall project member web alice developer
    """
    with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).set_member(project, username, role))
    print(f"{username} is {role} in {project}")
