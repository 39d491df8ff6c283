"""Key files, as Harbor's operators keep them."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from seawall.infra.secrets.master import MasterKeys
from seawall.infra.secrets.material import CSRF, SECRET, TOKEN, make_certificate, pem, rsa_key
from seawall.infra.secrets.versions import KeyVersions
from seawall.infra.settings import KeysSettings
from seawall.kernel.errors import ConfigError

# How a file holds bytes that are not text.
BASE64 = b"base64:"

log: Any = structlog.get_logger("seawall.keys")


class KeyFiles:
    """The key files that settings name, read once. Raises ConfigError naming a file that is not a key."""

    def __init__(self, settings: KeysSettings, *, held: tuple[str, ...] = ()) -> None:
        """`held` are keys that the cluster has: a file of such a key may be missing."""
        self._files: dict[str, tuple[Path, bytes]] = {}
        self._root: tuple[Path, str] | None = None
        for name, path in (
            (TOKEN, settings.private_key_file),
            (CSRF, settings.csrf_key_file),
            (SECRET, settings.secret_key_file),
        ):
            if path is not None and not _gone(path, name, held):
                data = _read(path)
                key = _private_key(path, data) if name == TOKEN else random_key(path, data)
                self._files[name] = (path, key)
        if settings.root_crt_file is not None and not _gone(settings.root_crt_file, TOKEN, held):
            path = settings.root_crt_file
            if TOKEN not in self._files and TOKEN in held:
                return  # a certificate alone says nothing about the cluster's key
            if TOKEN not in self._files:
                raise ConfigError(f"keys.root_crt_file {path} is given without keys.private_key_file")
            self._root = (path, _root_crt(path, *self._files[TOKEN]))

    def material(self, name: str) -> tuple[bytes, str] | None:
        """(material, certificate) from the file for key `name`, None without one."""
        if name not in self._files:
            return None
        _path, material = self._files[name]
        if name != TOKEN:
            return material, ""
        if self._root is not None:
            return material, self._root[1]
        return material, make_certificate(rsa_key(material))

    def compare(self, masters: MasterKeys, known: KeyVersions, *, heal: bool) -> None:
        """Hold the files against the cluster's keys. Raises ConfigError naming the first that differs.

        A file that holds an older version, from before a rotation, is not a fault: it is only out of date.
        """
        for name, (path, material) in self._files.items():
            fingerprint = masters.key_fingerprint(name, material)
            versions = known.all(name)
            if fingerprint == versions[-1].fingerprint:
                continue
            if any(fingerprint == key.fingerprint for key in versions):
                log.warning("key file is out of date after a rotation; it may be removed", file=str(path))
                continue
            self._differs(path, name, heal)
        if self._root is not None:
            path, certificate = self._root
            certificates = {key.public for key in known.all(TOKEN)}
            if certificate not in certificates:
                self._differs(path, "token certificate", heal)

    def _differs(self, path: Path, name: str, heal: bool) -> None:
        if heal:
            log.warning("key file differs from the cluster's key, which is used", file=str(path), key=name)
            return
        # Harbor's places: the key's folder and its certificate's are below one.
        folder = path.parent.parent if path.parent.name in ("core", "keys", "registry") else path.parent
        raise ConfigError(
            f"{path} differs from the cluster's {name} key: `seawall keys export` writes the cluster's key "
            f"there, `seawall keys import {folder}` makes the file's key the cluster's, and "
            "keys.on_mismatch: heal leaves the file and uses the cluster's"
        )


def _gone(path: Path, name: str, held: tuple[str, ...]) -> bool:
    if name not in held or path.exists():
        return False
    log.warning("key file is missing; the cluster's key is used", file=str(path), key=name)
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"key file {path}: {error.strerror}") from None


def _private_key(path: Path, data: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise ConfigError(f"key file {path}: not a PEM private key without password") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise ConfigError(f"key file {path}: must be an RSA key of 2048 bits or more")
    return pem(key)


def random_key(path: Path, data: bytes) -> bytes:
    """The key in `data`, which `path` holds. Raises ConfigError when it is too short."""
    data = data.strip()
    if data.startswith(BASE64):
        try:
            data = base64.b64decode(data.removeprefix(BASE64), validate=True)
        except binascii.Error:
            raise ConfigError(f"key file {path}: not base64 after {BASE64.decode()}") from None
    if len(data) < 16:
        raise ConfigError(f"key file {path}: must hold 16 bytes or more, has {len(data)}")
    return data


def _root_crt(path: Path, key_path: Path, key_pem: bytes) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise ConfigError(f"key file {path}: not a PEM certificate") from None
    if certificate.public_key() != rsa_key(key_pem).public_key():
        raise ConfigError(f"key file {path}: is not the certificate of {key_path}")
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
