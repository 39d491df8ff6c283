"""Databases with the schema in them; that of SQLite is copied from one that is migrated once a process."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

import seawall.process.tables  # noqa: F401 (declares the tables that `migrate` looks for)
from seawall.infra.db import migrate


def with_schema(url: str) -> str:
    """Leave an empty database as `migrate.upgrade` does; returns its URL."""
    file = make_url(url).database
    if not url.startswith("sqlite:") or file is None or Path(file).exists():
        migrate.upgrade(url)
        return url
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(), file)
    Path(file).chmod(0o600)
    return url


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="seawall-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "seawall.db"
    migrate.upgrade(f"sqlite:///{file}")
    return file
