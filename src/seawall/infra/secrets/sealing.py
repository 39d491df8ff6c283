"""Stored credentials (registries, webhooks, OIDC, ...) sealed under the cluster's `secret` key."""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Table, select, update

from seawall.infra.db.metadata import all_tables
from seawall.infra.secrets.master import encrypt as seal
from seawall.infra.secrets.material import SECRET, derive
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.secrets.versions import Key, KeyVersions
from seawall.kernel.errors import ConfigError

_SEALED = re.compile(r"sealed:v(\d+):([a-z0-9.-]{1,64}):([A-Za-z0-9_-]+={0,2})")
log: Any = structlog.get_logger("seawall.keys")


class Sealer:
    """Seals texts, opens them, and seals them again after a rotation."""

    def __init__(self, versions: KeyVersions) -> None:
        self._versions = versions

    def encrypt(self, purpose: str, plain: bytes) -> str:
        """`plain` sealed under the secret key, as ASCII text to store (`sealed:v<version>:<purpose>:...`).

        `purpose` (lower-case letters, digits, `.` and `-`) is bound to the text and must be given again to
        open it. Mark the column that holds it `info={"sealed": True}` (text or JSON), so that a rotation
        of the secret key finds it.
        """
        key = self._versions.current(SECRET)
        sealed = seal(derive(key.material, "seal"), plain, purpose)
        text = f"sealed:v{key.version}:{purpose}:{base64.urlsafe_b64encode(sealed).decode()}"
        assert _SEALED.fullmatch(text), "purpose has other characters than a-z 0-9 . -"
        return text

    def decrypt(self, purpose: str, sealed: str) -> bytes:
        """Reverse of `encrypt`. Raises ConfigError when it is not ours, or was sealed for something else."""
        match = _SEALED.fullmatch(sealed)
        if match is None or match[2] != purpose:
            raise ConfigError(f"a stored {purpose} credential is not readable: not sealed by this cluster")
        version = int(match[1])
        key = self._secret(version)
        if key is None:
            self._versions.reload()
            key = self._secret(version)
        if key is None:
            raise ConfigError(
                f"a stored {purpose} credential needs secret key version {version}, which is gone"
            )
        data = base64.urlsafe_b64decode(match[3])
        # Keys of peers: a browser may bring to one instance what another sealed for it.
        for candidate in (key, *(k for k in self._versions.all(SECRET) if k.version < 0 and k.material)):
            with contextlib.suppress(InvalidTag):
                opener = AESGCM(derive(candidate.material, "seal"))
                return opener.decrypt(data[:12], data[12:], purpose.encode())
        raise ConfigError(f"a stored {purpose} credential is damaged or from another cluster")

    def _secret(self, version: int) -> Key | None:
        return next((k for k in self._versions.all(SECRET) if k.version == version and k.material), None)

    def reseal_all(self, connection: Connection) -> int:
        """Seal every stored credential with the current secret key; returns how many were not yet."""
        changed = 0
        for table, column in sealed_columns():
            changed += self._reseal_column(connection, table, column)
        current = self._versions.current(SECRET).version
        # Retired means "nothing is stored under it that we know of". The material stays: a restored
        # backup may need it.
        connection.execute(
            update(cluster_keys)
            .where(
                cluster_keys.c.name == SECRET,
                cluster_keys.c.version < current,
                cluster_keys.c.version > 0,
                cluster_keys.c.retire_at.is_(None),
            )
            .values(retire_at=time.time())
        )
        return changed

    def _reseal_column(self, connection: Connection, table: Table, column: str) -> int:
        keys = list(table.primary_key.columns)
        rows = connection.execute(
            select(*keys, table.c[column]).where(table.c[column].is_not(None)).with_for_update()
        ).all()
        changed = 0
        for row in rows:
            value = _walk(row[-1], self._reseal)
            if value != row[-1]:
                where = [key == part for key, part in zip(keys, row[:-1], strict=True)]
                connection.execute(update(table).where(*where).values({column: value}))
                changed += 1
        return changed

    def _reseal(self, text: str) -> str:
        match = _SEALED.fullmatch(text)
        if match is None or int(match[1]) == self._versions.current(SECRET).version:
            return text
        try:
            return self.encrypt(match[2], self.decrypt(match[2], text))
        except ConfigError as error:
            # One that cannot be read any more must not keep the others from their new key.
            log.warning("a stored credential cannot be read; it keeps its old key", error=str(error))
            return text


def sealed_columns() -> list[tuple[Table, str]]:
    """(table, column) of every column that is marked to hold sealed credentials."""
    return [
        (table, column.name)
        for table in all_tables()
        for column in table.columns
        if column.info.get("sealed")
    ]


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _walk(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, change) for item in value]
    return value
