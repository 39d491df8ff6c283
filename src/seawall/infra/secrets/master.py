"""The master key: 32 random bytes under which the cluster's keys are stored.

It comes from the environment, a file (a Kubernetes secret, say), or a file made at first start below
`data_dir`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seawall.infra.private import private_folder, write_whole
from seawall.infra.secrets.material import derive, fingerprint
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError


def load_master_key(settings: Settings, *, create: bool = True) -> bytes:
    """The 32-byte master key: `master_key`, `master_key_file`, or `data_dir/master.key`.

    The last is made when missing, if `create`. A file holds 32 bytes, raw or in base64. Raises ConfigError
    naming the source when it is missing or not a key.
    """
    if settings.master_key is not None:
        if settings.master_key_file is not None:
            raise ConfigError("master_key and master_key_file are both set; set one")
        return _parse_master(settings.master_key.encode(), "master_key (SEAWALL_MASTER_KEY)")
    path = settings.master_key_file or settings.data_dir / "master.key"
    if settings.master_key_file is None and not path.exists():
        if not create:
            raise ConfigError(
                "there is no master key here, and it is needed to open the cluster's keys: set "
                f"master_key_file or SEAWALL_MASTER_KEY to the cluster's master key, or copy it to {path}"
            )
        private_folder(settings.data_dir)
        # Of several processes starting together one wins, and nobody ever reads half a key.
        write_whole(path, base64.b64encode(secrets.token_bytes(32)) + b"\n", replace=False)
    return read_master_key(path)


def other_master_keys(settings: Settings) -> tuple[bytes, ...]:
    """The master keys, other than `load_master_key`'s, that may open what is stored. Raises ConfigError."""
    path = settings.other_master_key_file
    return () if path is None else (read_master_key(path),)


def read_master_key(path: Path) -> bytes:
    """The master key in a file. Raises ConfigError naming it."""
    try:
        return _parse_master(path.read_bytes(), f"master key {path}")
    except FileNotFoundError:
        raise ConfigError(
            f"master key {path}: No such file or directory; copy it from an instance that runs, or, before "
            "the first start of all, make one: `head -c 32 /dev/urandom | base64`"
        ) from None
    except OSError as error:
        raise ConfigError(f"master key {path}: {error.strerror}") from None


def _parse_master(value: bytes, source: str) -> bytes:
    if len(value) == 32:
        return value
    try:
        key = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise ConfigError(f"{source}: neither 32 bytes nor base64") from None
    if len(key) != 32:
        raise ConfigError(f"{source}: must be 32 bytes in base64, has {len(key)}")
    return key


def encrypt(master: bytes, plain: bytes, purpose: str) -> bytes:
    """AES-256-GCM; `purpose` is bound to the result, so one stored secret cannot stand in for another."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(master).encrypt(nonce, plain, purpose.encode())


def decrypt(master: bytes, sealed: bytes, purpose: str) -> bytes:
    """Reverse of `encrypt`. Raises ConfigError when the master key is not the one that encrypted."""
    try:
        return AESGCM(master).decrypt(sealed[:12], sealed[12:], purpose.encode())
    except InvalidTag:
        raise ConfigError(
            f"the master key does not open the cluster's {purpose} key: this instance has another master "
            "key than the one that wrote the database; copy the file that master_key_file names from an "
            "instance that runs over the one here, or set SEAWALL_MASTER_KEY to its content"
        ) from None


class MasterKeys:
    """The master keys that this instance holds, and which of them the stored keys are sealed under."""

    def __init__(self, master: bytes, others: tuple[bytes, ...] = ()) -> None:
        """`others` open stored keys too, while the master key is replaced."""
        self._held = (master, *others)
        self.in_use = master

    def hold(self, new: bytes) -> None:
        """Open stored keys with `new` too from now on."""
        self._held = tuple(dict.fromkeys((*self._held, new)))

    def opened(self, name: str, material: bytes) -> tuple[bytes, bytes]:
        """The plain material and the master key that opened it."""
        for master in self._held[1:]:
            with contextlib.suppress(ConfigError):
                return decrypt(master, material, name), master
        return decrypt(self._held[0], material, name), self._held[0]

    @property
    def fingerprint(self) -> str:
        """Tells master keys apart without giving anything away."""
        return _master_fingerprint(self.in_use)

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprints of the master keys that this instance has."""
        return [_master_fingerprint(master) for master in self._held]

    def key_fingerprint(self, name: str, material: bytes) -> str:
        """Fingerprint of `material` as the cluster's key `name`."""
        return fingerprint(self.in_use, name, material)

    def peer_key(self, purpose: str) -> bytes:
        """32 bytes that those derive who have the same master key."""
        return derive(self.in_use, f"peers {purpose}")

    def peer_keys(self, purpose: str) -> dict[str, bytes]:
        """`peer_key` of each master key that is held, by its fingerprint; the one in use first."""
        masters = dict.fromkeys((self.in_use, *self._held))
        return {_master_fingerprint(master): derive(master, f"peers {purpose}") for master in masters}


def _master_fingerprint(master: bytes) -> str:
    return hmac.digest(master, b"master", "sha256").hex()[:32]
