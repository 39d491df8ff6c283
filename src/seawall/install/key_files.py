"""The keys that an installation needs, made once and kept."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from seawall.infra.private import write_whole
from seawall.infra.secrets.material import pem
from seawall.install.owner import Owner, can_read, can_write
from seawall.install.report import PrepareReport
from seawall.kernel.errors import ConfigError

_PAIR = ("private_key", "root_crt")
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Folders:
    """Makes folders of the user who runs Seawall."""

    owner: Owner

    def make(self, path: Path, mode: int = 0o750) -> None:
        """Make the folder, and those around it; it becomes the owner's if the owner cannot write there."""
        path.mkdir(parents=True, mode=mode, exist_ok=True)
        if can_write(self.owner, str(path)):
            # A network file system may not let root give its folders away; whether it matters is tried later.
            with contextlib.suppress(PermissionError):
                give(path, self.owner)


def key_paths(data: Path) -> dict[str, Path]:
    """Where keys are below the data volume: Harbor's places, where Harbor has them."""
    secret = data / "secret"
    return {
        "master": secret / "keys" / "master.key",
        "secret": secret / "keys" / "secretkey",
        "csrf": secret / "core" / "csrf_key",
        "private_key": secret / "core" / "private_key.pem",
        "root_crt": secret / "registry" / "root.crt",
    }


def make_keys(data: Path, folders: Folders, report: PrepareReport) -> None:
    """Make the data volume's folders, and the keys that are missing."""
    folders.make(data, 0o755)
    folders.make(data / "seawall")
    folders.make(data / "registry")
    # The certificate of the authority that signed the balancer's certificate goes here, for clients.
    folders.make(data / "ca_download", 0o755)
    for name in ("", "keys", "core", "registry"):
        folders.make(data / "secret" / name)
    paths = key_paths(data)
    made = _place_pair(paths, folders.owner)
    letters = string.ascii_letters + string.digits
    makers: dict[str, Callable[[], bytes]] = {
        "master": lambda: base64.b64encode(secrets.token_bytes(32)) + b"\n",
        "secret": lambda: "".join(secrets.choice(letters) for _ in range(16)).encode(),
        "csrf": lambda: "".join(secrets.choice(letters) for _ in range(32)).encode(),
    }
    for name, maker in makers.items():
        # A key that is there is never replaced, also not when two run at once.
        if not paths[name].exists() and _create(paths[name], maker(), folders.owner):
            made.add(name)
    for name, path in paths.items():
        if name in made:
            report.made_keys.append(path)
        else:
            # Copied from another host as root, perhaps: the content stays, the owner is set right.
            if can_read(folders.owner, str(path)) or path.stat().st_mode & 0o077:
                path.chmod(0o600)
                give(path, folders.owner)
            report.kept_keys.append(path)


def _place_pair(paths: dict[str, Path], owner: Owner) -> set[str]:
    """Make the token-signing key and its certificate; the names of those that were made.

    They are written into one file first, so that a run that is killed between them is finished by the next.
    Raises ConfigError where one of another origin is alone.
    """
    both = paths["private_key"].with_name(".private_key.pem.new")
    there = {name: paths[name].read_bytes() for name in _PAIR if paths[name].exists()}
    if not there and not both.exists():
        _create(both, b"".join(_signing_pair()), owner)
    made: dict[str, bytes] = {}
    if len(there) < len(_PAIR):
        key, begin, certificate = (both.read_bytes() if both.exists() else b"").partition(_BEGIN)
        made = {"private_key": key, "root_crt": begin + certificate}
        for name, content in there.items():
            if content != made[name]:
                (missing,) = set(_PAIR) - {name}
                raise ConfigError(
                    f"{paths[name]} is there, but {paths[missing]} is not: they belong together"
                )
    new = {name for name in _PAIR if name not in there and _create(paths[name], made[name], owner)}
    both.unlink(missing_ok=True)
    return new


def _create(path: Path, content: bytes, owner: Owner) -> bool:
    return write_whole(path, content, owner=(owner.uid, owner.gid), replace=False)


def _signing_pair() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seawall token signing")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return pem(key), certificate.public_bytes(serialization.Encoding.PEM)


def give(path: Path, owner: Owner) -> None:
    """Make a file or folder the owner's, where this process may."""
    if os.geteuid() == 0:
        os.chown(path, owner.uid, owner.gid)
