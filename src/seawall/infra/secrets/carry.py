"""Bringing keys from a folder into the cluster, and the cluster's keys into files.

A folder is a Harbor's `data_volume/secret`, a Harbor's installation folder, a copy of another Seawall's
`data_volume/secret`, or just a folder with some of the files: `private_key.pem`, `root.crt`, `secretkey`,
`csrf_key`, `master.key`, or an `env` with a line `CSRF_KEY=...` (Harbor's `common/config/core/env`).
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

from seawall.infra.private import write_whole
from seawall.infra.secrets.files import BASE64, KeyFiles, random_key
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.master import read_master_key
from seawall.infra.secrets.material import CSRF, NAMES, SECRET, TOKEN
from seawall.infra.secrets.versions import Key
from seawall.infra.settings import KeysSettings
from seawall.kernel.errors import ConfigError

_DEPTH = 6
_FILES = ("private_key.pem", "root.crt", "secretkey", "csrf_key", "master.key")


@dataclass(slots=True)
class Found:
    """What a folder holds: (material, certificate) and the file by key name; the master key and its file."""

    keys: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    master: bytes | None = None
    master_file: Path | None = None


def read_folder(folder: Path) -> Found:
    """The keys below `folder`. Raises ConfigError: none, a file that is not a key, or two that contradict."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder")
    named: dict[str, Path] = {}
    csrf_lines: dict[str, Path] = {}
    for path in _walk(folder):
        if path.name in _FILES:
            other = named.setdefault(path.name, path)
            if other != path and other.read_bytes() != path.read_bytes():
                raise ConfigError(f"{other} and {path} are both there and differ: name the folder of one")
        elif path.name == "env":
            value = _csrf_line(path)
            if value:
                csrf_lines[value] = path
    if len(csrf_lines) > 1:
        raise ConfigError(f"{' and '.join(map(str, csrf_lines.values()))} have different CSRF_KEY")
    return _read(folder, named, csrf_lines)


def _walk(folder: Path) -> list[Path]:
    found = []
    for root, folders, files in os.walk(folder, onerror=_refuse):
        if len(Path(root).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        folders.sort()
        found += [Path(root) / name for name in sorted(files)]
    return found


def _refuse(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: {error.strerror}")


def _csrf_line(path: Path) -> str | None:
    for line in path.read_text(errors="replace").splitlines():
        name, _, value = line.strip().partition("=")
        if name == "CSRF_KEY":
            return value.strip().strip("\"'")
    return None


def _read(folder: Path, named: dict[str, Path], csrf_lines: dict[str, Path]) -> Found:
    root = named.get("root.crt")
    if root is not None and "private_key.pem" not in named:
        raise ConfigError(f"{root} is there, but no private_key.pem: they belong together")
    files = KeyFiles(
        KeysSettings(
            private_key_file=named.get("private_key.pem"),
            root_crt_file=root,
            csrf_key_file=named.get("csrf_key"),
            secret_key_file=named.get("secretkey"),
        )
    )
    found = Found()
    places = {TOKEN: "private_key.pem", CSRF: "csrf_key", SECRET: "secretkey"}
    for name in NAMES:
        key = files.material(name)
        if key is not None:
            found.keys[name], found.files[name] = key, named[places[name]]
    for value, path in csrf_lines.items():
        csrf = random_key(path, value.encode())
        if CSRF in found.keys and found.keys[CSRF][0] != csrf:
            raise ConfigError(f"{path} and {found.files[CSRF]} hold different CSRF keys: remove one")
        found.keys[CSRF], found.files[CSRF] = (csrf, ""), path
    if "master.key" in named:
        found.master, found.master_file = read_master_key(named["master.key"]), named["master.key"]
    if not found.keys and found.master is None:
        raise ConfigError(f"{folder}: holds none of {', '.join(_FILES)} and no env with CSRF_KEY")
    return found


def write_files(ring: KeyRing, settings: KeysSettings, folder: Path | None) -> list[Path]:
    """Write the cluster's newest keys to the files that `settings` name, or to `folder`.

    Returns the files that were changed: none where the settings name none.
    """
    key, csrf, secret = (_newest(ring, name) for name in NAMES)
    places = [
        (folder / name if folder else setting, content)
        for name, setting, content in (
            ("private_key.pem", settings.private_key_file, key and key.material),
            ("root.crt", settings.root_crt_file, key and key.public.encode()),
            ("csrf_key", settings.csrf_key_file, csrf and _as_text(csrf.material)),
            ("secretkey", settings.secret_key_file, secret and _as_text(secret.material)),
        )
    ]
    written = []
    for path, content in places:
        if path is not None and content and not (path.exists() and path.read_bytes() == content):
            replace_file(path, content)
            written.append(path)
    return written


def _newest(ring: KeyRing, name: str) -> Key | None:
    own = [key for key in ring.versions(name) if key.version > 0]
    return own[-1] if own else None


def _as_text(material: bytes) -> bytes:
    # What is read from a file loses white space at its ends, so bytes of any kind need a form of their own.
    if material.isascii() and material.decode().isprintable() and material == material.strip():
        return material
    return BASE64 + base64.b64encode(material)


def replace_file(path: Path, content: bytes) -> None:
    """Write a secret file in one step; its owner is that of the old one, or else of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = path.stat() if path.exists() else path.parent.stat()
    write_whole(path, content, owner=(model.st_uid, model.st_gid))
