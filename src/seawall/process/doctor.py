"""`seawall doctor`: whether an installation works, end to end, as seen from this host.

Each part is looked at by itself: a part that fails is a line with its cure, and does not stop the others.
The database is only read; one object is written to the storage, read back and deleted.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import ssl
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from seawall.availability.cluster.check import check as check_cluster
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.infra.db import open_database
from seawall.infra.db.plain import postgres_engine
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.install import certificates
from seawall.install.readiness import Readiness, ask_database
from seawall.kernel.errors import SeawallError
from seawall.process.storage import open_storage
from seawall.registry.stored import has_none

_PART_SECONDS = 30.0
# Less than this is too little for an upload of a large layer and the database's own files.
_FREE_BYTES = 2 * 1024**3
_FREE_SHARE = 0.05
_EXPIRES_DAYS = 14


async def examine(settings: Settings) -> Readiness:
    """Look at every part of the installation that `settings` describe."""
    result = Readiness()
    result.good("settings", f"data in {settings.data_dir.absolute()}, storage: {settings.storage.driver}")
    parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("disk", lambda: asyncio.to_thread(_disk, result, settings)),
        ("database", lambda: asyncio.to_thread(_database, result, settings)),
        ("redis", lambda: _redis(result, settings)),
        ("storage", lambda: _storage(result, settings)),
        ("certificate", lambda: asyncio.to_thread(_certificate, result, settings)),
        ("external_url", lambda: _address(result, settings)),
        ("keys", lambda: asyncio.to_thread(_master_key, result, settings)),
    ]
    for kind, look in parts:
        await _part(result, kind, look)
    # Without a database there is nothing to ask about keys and instances.
    if not any(item.kind == "database" and item.cure for item in result.items):
        await _part(result, "instances", lambda: _instances(result, settings))
        if not any(item.kind == "storage" and item.cure for item in result.items):
            await _part(result, "storage", lambda: _content(result, settings))
    return result


async def _part(result: Readiness, kind: str, look: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(_PART_SECONDS):
            await look()
    except TimeoutError:
        cure = f"look at the network between here and {kind}"
        result.fault(kind, f"no answer within {_PART_SECONDS:.0f} s", cure)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        result.fault(kind, lines[0][:300], f"look at the settings of {kind}")


def _disk(result: Readiness, settings: Settings) -> None:
    folders = {"data": settings.data_dir, "temporary files": Path(tempfile.gettempdir())}
    if settings.storage.driver == "filesystem":
        folders["storage"] = settings.storage_root
    for what, folder in folders.items():
        there = folder.absolute()
        while not there.exists() and there != there.parent:
            there = there.parent
        if not os.access(there, os.W_OK):
            message = f"{what}: {there} cannot be written by this user"
            result.fault("disk", message, "run the command as the user who runs Seawall")
            continue
        usage = shutil.disk_usage(there)
        free = f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.1f} GiB"
        if usage.free < _FREE_BYTES or usage.free < _FREE_SHARE * usage.total:
            cure = "make room: `seawall gc`, retention rules, or a larger disk"
            result.fault("disk", f"{what}: {folder} has {free}", cure)
        else:
            result.good("disk", f"{what}: {folder} has {free}")


def _database(result: Readiness, settings: Settings) -> None:
    url = settings.database_url
    embedded = url.startswith("sqlite")
    if embedded and not Path(make_url(url).database or "").exists():
        result.fault(
            "database",
            f"there is no registry in {settings.data_dir.absolute()}",
            "name it with --data-dir or --config, or start it once with `seawall serve`",
        )
        return
    engine = create_engine(url) if embedded else postgres_engine(url, 1)
    cure = "look at the server, the network between, and database.url"
    try:
        ask_database(result, engine)
    except DBAPIError as error:
        result.fault("database", str(error.orig).strip().splitlines()[0], cure)
    except (SQLAlchemyError, OSError) as error:
        result.fault("database", str(error).splitlines()[0], cure)
    finally:
        engine.dispose()


async def _redis(result: Readiness, settings: Settings) -> None:
    if not settings.redis.configured:
        result.good("redis", "none is set, and none is needed")
        return
    client = RedisClient(settings.redis)
    try:
        status = await client.status()
    finally:
        await client.close()
    if status == "ok":
        result.good("redis", "answers")
    else:
        cure = "start it, or look at the section redis; Seawall serves without it, more slowly"
        result.fault("redis", f"does not answer: {status}", cure)


async def _storage(result: Readiness, settings: Settings) -> None:
    if settings.storage.driver == "filesystem" and not settings.storage_root.exists():
        result.fault("storage", f"{settings.storage_root} is not there", "mount it, or correct storage.root")
        return
    if settings.storage.driver == "filesystem" and _as_another(settings.storage_root):
        message = f"{settings.storage_root} is another user's, who could not use what root makes there"
        result.fault("storage", message, "run the command as the user who runs Seawall")
        return
    storage = open_storage(settings)
    key, data = f"probe-{secrets.token_hex(12)}", secrets.token_bytes(64)
    started = time.perf_counter()
    await storage.put(key, data)
    try:
        read = b"".join([part async for part in storage.stream(key, 0, len(data))])
    finally:
        await storage.delete(key)
    took = time.perf_counter() - started
    if read == data:
        result.good("storage", f"{settings.storage.driver}: written, read and deleted in {took:.2f} s")
    else:
        result.fault(
            "storage", "storage returned other bytes than were written", "ask the operator of the storage"
        )


async def _content(result: Readiness, settings: Settings) -> None:
    db = open_database(settings.database_url, pool_size=1)
    try:
        looked = await has_none(db, open_storage(settings))
    finally:
        await db.close()
    if looked:
        result.fault(
            "storage",
            f"it has none of {looked} blobs that the database names: it is another one, or not mounted",
            "mount the share, or correct the section storage; if the bytes are lost, `seawall fsck --repair`",
        )


def _as_another(folder: Path) -> bool:
    """Whether root looks at a folder of another user, who could not use what root makes there."""
    return os.geteuid() == 0 and folder.stat().st_uid != 0


def _certificate(result: Readiness, settings: Settings) -> None:
    path, key = settings.http.tls_certificate, settings.http.tls_key
    if path is None or key is None:
        return
    try:
        certificate = certificates.check_pair(path, key)
    except certificates.CertificateError as error:
        cure = "name a PEM certificate and its key: http.tls_certificate, http.tls_key"
        result.fault("certificate", str(error), cure)
        return
    _expiry(result, certificate, str(path))


def _expiry(result: Readiness, certificate: x509.Certificate, what: str) -> None:
    end = certificate.not_valid_after_utc
    days = (end - datetime.now(UTC)).days
    if reason := certificates.validity(certificate):
        result.fault("certificate", f"{what} {reason}", "renew it")
    elif days < _EXPIRES_DAYS:
        result.fault("certificate", f"{what} expires in {days} days, on {end:%Y-%m-%d}", "renew it")
    else:
        result.good("certificate", f"{what} is good until {end:%Y-%m-%d}")


async def _address(result: Readiness, settings: Settings) -> None:
    url = settings.external_url
    if not url:
        result.good("external_url", "is not set; clients get the address that they called")
        return
    parts = urlsplit(url)
    try:
        await asyncio.to_thread(socket.getaddrinfo, parts.hostname, parts.port or 443)
    except OSError as error:
        cure = "add it to DNS or to /etc/hosts, or correct external_url"
        result.fault("external_url", f"{parts.hostname} cannot be resolved: {error.strerror or error}", cure)
        return
    context = ssl.create_default_context()
    async with httpx.AsyncClient(timeout=10, verify=context, trust_env=False) as client:
        try:
            answer = await client.get(f"{url.rstrip('/')}/v2/")
        except httpx.HTTPError as error:
            cure = "start Seawall and its balancer, open the port, or correct external_url"
            if "CERTIFICATE" in str(error).upper():
                cure = "name the certificate's authority in ca_bundle, or correct the names in it"
            result.fault("external_url", f"{url}: {error or type(error).__name__}", cure)
            return
    if "docker-distribution-api-version" not in answer.headers:
        cure = "point the name or the balancer to Seawall"
        result.fault("external_url", f"{url} is answered by another server ({answer.status_code})", cure)
        return
    result.good("external_url", f"{url} answers as a registry")
    if parts.scheme == "https":
        place = (parts.hostname or "", parts.port or 443)
        pem = await asyncio.to_thread(ssl.get_server_certificate, place, timeout=10)
        _expiry(result, x509.load_pem_x509_certificate(pem.encode()), f"the certificate of {url}")


def _master_key(result: Readiness, settings: Settings) -> None:
    path = settings.master_key_file or settings.data_dir / "master.key"
    if settings.master_key or not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        result.fault("keys", f"{path} can be read by others (mode {mode:o})", f"`chmod 600 {path}`")


async def _instances(result: Readiness, settings: Settings) -> None:
    db = open_database(settings.database_url, pool_size=2)
    try:
        try:
            ring = KeyRing.open(db, settings, files=False, generate_missing=False)
        except SeawallError as error:
            result.fault("keys", str(error), "give this host the cluster's master key")
            return
        result.good("keys", "the master key opens the cluster's keys")
        alive = [item for item in await InstanceRegistry(db, settings, ring).list() if item.alive]
        if not alive:
            result.fault("instances", "no instance is alive", "start one: `seawall serve`, or its service")
            return
        result.good("instances", f"{len(alive)} alive: {', '.join(sorted(item.address for item in alive))}")
        for fault in (await check_cluster(db, settings, ring)).faults:
            result.fault(fault.kind, fault.message, fault.cure)
    finally:
        await db.close()
