"""What `seawall serve` proves before it serves, and the administrator that it makes afterwards."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Callable

from seawall.access.accounts import ensure_admin
from seawall.infra.configuration import fixed_items
from seawall.infra.db import open_database
from seawall.infra.ports import listen_fault
from seawall.infra.settings import Http, Settings
from seawall.install.certificates import CertificateError, check_pair
from seawall.kernel.errors import ConfigError
from seawall.process import tables as tables  # declares every table
from seawall.process.storage import open_cache
from seawall.registry.projects import make_library

_PATIENCE = 120.0


def preflight(settings: Settings) -> None:
    """Raise ConfigError for what would end the server right after its start.

    Looked at are the items of `configuration`, the cache's folder, the certificate, the address and the port.
    """
    fixed_items(settings)
    open_cache(settings)
    _check_certificate(settings.http)
    check_address(settings.http.host, settings.http.port)
    if settings.http.redirect_port:
        check_address(settings.http.host, settings.http.redirect_port)


def _check_certificate(http: Http) -> None:
    if http.tls_certificate is None or http.tls_key is None:
        return
    try:
        check_pair(http.tls_certificate, http.tls_key)
    except CertificateError as error:
        raise ConfigError(f"http.tls_{error.part.removeprefix('private_')}: {error}") from None


def check_address(host: str, port: int, prefix: str = "http.") -> None:
    """Raise ConfigError when nobody can listen there. `prefix`: of the setting or option that says where."""
    error = listen_fault(host, port)
    if error is not None:
        raise ConfigError(prefix + _refused(host, port, error))


def _refused(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"host: {host!r} is neither an address nor a name of this host"
    if error.errno == errno.EADDRINUSE:
        return f"port: {port} at {host} is in use; end its program or choose another (--port)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host: {host} is not an address of this host; 0.0.0.0 stands for all of them"
    if error.errno == errno.EACCES:
        return f"port: this user may not listen at port {port}; ports from 1024 on are open to every user"
    return f"port: cannot listen at {host}:{port}: {error.strerror}"


class FirstAdmin:
    """Makes user `admin` of a first start with a generated password once the server serves, and shows it.

    A start that fails has then neither made a user nor burnt a password that nobody could read again.
    """

    def __init__(self, settings: Settings, show: Callable[[str], None]) -> None:
        self._settings = settings
        self._show = show

    def begin(self) -> None:
        """Wait for the server in a thread; to be called before the server processes are forked."""
        threading.Thread(target=self._wait, name="first-admin", daemon=True).start()

    def _wait(self) -> None:
        http = self._settings.http
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104
        end = time.monotonic() + _PATIENCE
        while True:
            # Slept first: the fork of the server processes should find this thread doing nothing.
            time.sleep(0.1)
            try:
                socket.create_connection((host, http.port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    return
        password = asyncio.run(self._make())
        if password is not None:
            self._show(password)

    async def _make(self) -> str | None:
        db = open_database(self._settings.database_url, pool_size=1)
        try:
            return ensure_admin(db, None, make_library)
        finally:
            await db.close()
