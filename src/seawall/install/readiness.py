"""`seawall prepare --check`: whether what a harbor.yml asks for can be started on this host. Writes nothing.

Files are tried as the user who will run Seawall, services are asked, and a port is tried by listening on it.
A fault names its cure.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from seawall.infra.db import dialect
from seawall.infra.db.migrate import foreign_tables
from seawall.infra.db.plain import postgres_engine
from seawall.infra.ports import listen_fault
from seawall.infra.redis import RedisClient
from seawall.infra.settings import Settings
from seawall.infra.storage.connect import open_objects
from seawall.install import certificates
from seawall.install.key_files import key_paths
from seawall.install.marked import Checked
from seawall.install.owner import Owner, can_read, can_write, owner_of
from seawall.install.prepare import trial_settings
from seawall.install.unit_files import log_folder
from seawall.kernel.errors import ConfigError

# As `ha check` has it: tokens and sessions of one instance are used on others.
CLOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was looked at. `cure` is empty unless it is a fault."""

    kind: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        if not self.cure:
            return f"ok    {self.kind}: {self.message}"
        return f"FAULT {self.kind}: {self.message}\n  cure: {self.cure}"


@dataclass(slots=True)
class Readiness:
    """What the check found."""

    items: list[Item] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is in the way."""
        return not any(item.cure for item in self.items)

    def good(self, kind: str, message: str) -> None:
        """Note what is in order."""
        self.items.append(Item(kind, message))

    def fault(self, kind: str, message: str, cure: str) -> None:
        """Note what is in the way."""
        self.items.append(Item(kind, message, cure))


def check(found: Checked, file: Path, output: Path, user: str) -> Readiness:
    """Look at everything that a start needs; `found` is the checked harbor.yml `file`.

    `output` is where `prepare` writes, `user` who runs Seawall. Raises ConfigError when the file's values
    make no settings.
    """
    settings = trial_settings(found, file, output)
    result = Readiness()
    owner = owner_of(user)
    _files(result, settings, found, output, owner, user)
    if settings.http.tls_certificate and settings.http.tls_key:
        _certificate(result, settings)
    _ports(result, settings)
    _names(result, settings, found)
    _database(result, settings)
    if settings.redis.configured:
        asyncio.run(_redis(result, settings))
    if settings.storage.driver != "filesystem":
        asyncio.run(_objects(result, settings))
    return result


# -- files ---------------------------------------------------------------------------------------------


def _files(
    result: Readiness, settings: Settings, found: Checked, output: Path, owner: Owner, user: str
) -> None:
    if owner.name == user:
        result.good("user", f"files belong to {owner}")
    else:
        result.good(
            "user",
            f"files belong to {owner}, the user of the containers; for the systemd units run `seawall "
            f"prepare` as root on a host that has user {user}, or name another with --user",
        )
    config = output / "common" / "config"
    written = [config / "seawall.yml", *key_paths(Path(found.get("data_volume"))).values()]
    missing = [path for path in written if not _exists(path)]
    for path in written:
        if path not in missing:
            _readable(result, owner, path, "run `seawall prepare` as root, which sets the owner right")
    if len(missing) == len(written):
        result.good("prepared", "nothing is written yet; `seawall prepare` does")
    elif missing:
        names = ", ".join(str(path) for path in missing)
        result.fault("prepared", f"{names}: not there", "run `seawall prepare`")
    for given in _given(settings):
        if not given.is_relative_to(found.get("data_volume")) and given.parent != config:
            cure = f"give {owner} the right to read it, or name another file in harbor.yml"
            _readable(result, owner, given, cure)
    folders = {settings.data_dir: "data", log_folder(found): "log"}
    if settings.storage.driver == "filesystem":
        folders[settings.storage_root] = "storage"
    for folder, kind in folders.items():
        _writable(result, owner, folder, kind)


def _exists(path: Path) -> bool:
    # Path.exists raises where a folder around it must not be looked into.
    try:
        return path.exists()
    except OSError:
        return False


def _given(settings: Settings) -> Iterator[Path]:
    storage = settings.storage
    for path in (storage.s3.cacert, storage.gcs.keyfile, settings.redis.tls_ca_file):
        if path is not None:
            yield path
    if settings.database.url:
        for name, value in make_url(settings.database.connection_url()).query.items():
            if name in ("sslrootcert", "sslcert", "sslkey") and isinstance(value, str):
                yield Path(value)


def _readable(result: Readiness, owner: Owner, path: Path, cure: str) -> None:
    reason = can_read(owner, str(path))
    if reason is None:
        result.good("file", f"{path} can be read by {owner}")
    else:
        result.fault("file", f"{path} cannot be read by {owner}: {reason}", cure)


def _writable(result: Readiness, owner: Owner, folder: Path, kind: str) -> None:
    there = folder
    while not _exists(there) and there != there.parent:
        there = there.parent
    if there != folder:
        result.good(kind, f"{folder} is not there yet; `seawall prepare` makes it")
        return
    reason = can_write(owner, str(folder))
    if reason is None:
        result.good(kind, f"{folder} can be written by {owner}")
        return
    cure = f"`chown {owner.uid}:{owner.gid} {folder}` (`seawall prepare` as root does), or mount it writable"
    result.fault(kind, f"{folder} cannot be written by {owner}: {reason}", cure)


# -- certificate, ports, names -------------------------------------------------------------------------


def _certificate(result: Readiness, settings: Settings) -> None:
    path, key = settings.http.tls_certificate, settings.http.tls_key
    assert path is not None
    assert key is not None
    try:
        certificate = certificates.check_pair(path, key)
    except certificates.CertificateError as error:
        result.fault(
            "certificate", str(error), "name a PEM certificate and its key in harbor.yml, section https"
        )
        return
    reason = certificates.validity(certificate)
    if reason:
        result.fault("certificate", f"{path} {reason}", "renew it")
        return
    host = urlsplit(settings.external_url or "").hostname or ""
    if certificates.covers(certificate, host):
        result.good("certificate", f"{path} and its key belong together, for {host}")
    else:
        found = ", ".join(certificates.names(certificate)) or "no name"
        result.good(
            "certificate",
            f"{path} and its key belong together, but it is for {found} and not for {host}; that is right "
            "only behind a balancer with a certificate of its own",
        )


def _ports(result: Readiness, settings: Settings) -> None:
    http = settings.http
    for port in (http.port, http.redirect_port):
        if not port:
            continue
        reason = listen_fault(http.host, port)
        if reason is None:
            result.good("port", f"{port} is free")
        elif _is_seawall(port, bool(http.tls_certificate) and port == http.port):
            result.good("port", f"{port} is in use by a running Seawall")
        else:
            result.fault(
                "port",
                f"{port}: {reason.strerror or reason}",
                f"stop what listens there (`ss -ltnp sport = :{port}`), or choose another in harbor.yml",
            )


def _is_seawall(port: int, secure: bool) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/healthz"
    with contextlib.suppress(OSError, ValueError):
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        with urllib.request.build_opener(*handlers).open(url, timeout=3) as answer:
            return b'"version"' in answer.read(200)
    return False


def _names(result: Readiness, settings: Settings, found: Checked) -> None:
    for host in sorted(_hosts(settings, found)):
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            result.fault(
                "name",
                f"{host} cannot be resolved: {error.strerror or error}",
                "add it to DNS or to /etc/hosts, or correct its spelling in harbor.yml",
            )
        else:
            result.good("name", f"{host} is resolved")


def _hosts(settings: Settings, found: Checked) -> set[str]:
    storage = settings.storage
    urls = [settings.external_url, settings.dr.peer, settings.dr.witness, *settings.peers.urls]
    urls += [storage.redirect_endpoint]
    urls += [{"s3": storage.s3.regionendpoint, "azure": storage.azure.endpoint}.get(storage.driver)]
    hosts = {urlsplit(url).hostname or "" for url in urls if url}
    if settings.database.url and not settings.database.url.startswith("sqlite"):
        hosts |= {host for host, _port in database_hosts(settings.database.url)}
    for listed in (settings.redis.sentinel, settings.redis.cluster):
        hosts |= {_bare(item) for item in (listed or "").split(",") if item}
    if settings.redis.url:
        hosts.add(urlsplit(settings.redis.url).hostname or "")
    hosts.add(found.get("log.external_endpoint.host", ""))
    return {host for host in hosts if host and not host.startswith("/")}


def _bare(address: str) -> str:
    return address.strip().rpartition(":")[0].strip("[]") or address.strip()


def database_hosts(url: str) -> list[tuple[str, int]]:
    """(host, port) of each server in a PostgreSQL URL, which may name several."""
    places = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    found = []
    for place in places.split(","):
        host, _, port = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", "")
        found.append((host.strip("[]"), int(port or 5432)))
    return found


# -- services ------------------------------------------------------------------------------------------


def _database(result: Readiness, settings: Settings) -> None:
    url = settings.database_url
    if url.startswith("sqlite"):
        path = Path(make_url(url).database or "")
        if not _exists(path):
            result.good("database", f"{path} is made at the first start")
            return
        engine = create_engine(url)
    else:
        engine = postgres_engine(url, 1)
    try:
        ask_database(result, engine)
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0]
        result.fault("database", said, "look at the server, the network, and external_database in harbor.yml")
    except (SQLAlchemyError, OSError) as error:
        result.fault("database", str(error).splitlines()[0], "look at external_database in harbor.yml")
    finally:
        engine.dispose()


def ask_database(result: Readiness, engine: Engine) -> None:
    """Whether the database is Seawall's, takes writes and has the same time."""
    with engine.connect() as connection:
        foreign = foreign_tables(connection)
        if foreign:
            result.fault("database", foreign, "give Seawall an empty database of its own")
            return
        if dialect.is_embedded(connection):
            result.good("database", f"{engine.url.database} is Seawall's")
            return
        version = connection.execute(text("show server_version")).scalar()
        standby = connection.execute(text("select pg_is_in_recovery()")).scalar()
        may = connection.execute(
            text("select has_schema_privilege(current_user, current_schema(), 'CREATE')")
        ).scalar()
        before = time.time()
        theirs = dialect.now(connection)
        skew = (before + time.time()) / 2 - theirs
    if standby:
        result.fault("database", "the server is a standby and takes no writes", "name the primary, or both")
    elif not may:
        result.fault(
            "database",
            "the user may not make tables",
            "make it the database's owner: `alter database NAME owner to USER`",
        )
    else:
        result.good("database", f"PostgreSQL {version} answers and takes writes")
    if abs(skew) > CLOCK_SECONDS:
        result.fault(
            "clock",
            f"this host's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's",
            "run a time service (chrony, systemd-timesyncd) on both",
        )
    else:
        result.good("clock", f"{abs(skew):.1f} s from the database's")


async def _redis(result: Readiness, settings: Settings) -> None:
    client = RedisClient(settings.redis)
    try:
        status = await client.status()
    finally:
        await client.close()
    if status == "ok":
        result.good("redis", "answers")
    else:
        result.fault("redis", f"does not answer: {status}", "look at external_redis in harbor.yml")


async def _objects(result: Readiness, settings: Settings) -> None:
    key = f"probe-{secrets.token_hex(12)}"
    driver = settings.storage.driver
    try:
        storage = open_objects(settings.storage)
        await storage.put(key, b"seawall")
        size = await storage.size(key)
        await storage.delete(key)
    except ConfigError as error:
        result.fault("storage", str(error), "look at storage_service in harbor.yml")
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        result.fault("storage", f"{driver}: {lines[0][:300]}", "look at storage_service in harbor.yml")
    else:
        if size == len(b"seawall"):
            result.good("storage", f"{driver} takes, gives and deletes objects")
        else:
            result.fault(
                "storage",
                f"{driver}: an object is not there after it was written",
                "ask the operator of the storage",
            )
