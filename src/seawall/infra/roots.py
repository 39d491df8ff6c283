"""The authorities that connections to others are checked against: the public ones, and those of `ca_bundle`.

OpenSSL, httpx, obstore and redis-py all read one file, the one in SSL_CERT_FILE, in place of the public
authorities. So a file with both is made at start, and named there for this process and its children. libpq
looks at a file of its own (PGSSLROOTCERT), and has none unless the variable is set.
"""

from __future__ import annotations

import atexit
import os
import shutil
import ssl
from pathlib import Path
from urllib.parse import parse_qs

import certifi
from cryptography import x509

from seawall.infra.settings import DatabaseSettings, Settings
from seawall.infra.temporary import temporary_folder
from seawall.kernel.errors import ConfigError

_OPENSSL = "SSL_CERT_FILE"
_LIBPQ = "PGSSLROOTCERT"


def trust_authorities(settings: Settings) -> None:
    """Set this process's environment so that all connections trust what the settings say.

    Raises ConfigError for a `ca_bundle` that cannot be read or holds no certificate.
    """
    extra = read_bundle(settings.ca_bundle) if settings.ca_bundle else b""
    if extra:
        folder = _folder()
        both, own = folder / "all.pem", folder / "own.pem"
        both.write_bytes(public_authorities() + b"\n" + extra)
        own.write_bytes(extra)
        os.environ[_OPENSSL] = str(both)
        _tell_libpq(settings.database, verify_full=both, verify_ca=own)
    else:
        _tell_libpq(settings.database, verify_full=Path(_public_file()), verify_ca=None)


def public_authorities() -> bytes:
    """PEM of what is trusted without `ca_bundle`: SSL_CERT_FILE, or else the host's and certifi's."""
    given = os.environ.get(_OPENSSL)
    if given:
        return _read(Path(given), _OPENSSL)
    host = ssl.get_default_verify_paths().cafile
    return b"\n".join(_read(Path(name), "authorities") for name in (host, certifi.where()) if name)


def read_bundle(place: Path) -> bytes:
    """PEM of a file, or of the *.crt and *.pem in a folder. Raises ConfigError where there is none."""
    files = sorted([*place.glob("*.crt"), *place.glob("*.pem")]) if place.is_dir() else [place]
    found = b"\n".join(_read(file, "ca_bundle") for file in files)
    try:
        x509.load_pem_x509_certificates(found)
    except ValueError:
        raise ConfigError(f"ca_bundle: {place}: there is no certificate (PEM) in it") from None
    return found


def _read(file: Path, named: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{named}: {file}: {error.strerror}; it should hold certificates of authorities"
        ) from None


def _public_file() -> str:
    return os.environ.get(_OPENSSL) or ssl.get_default_verify_paths().cafile or certifi.where()


def _tell_libpq(database: DatabaseSettings, *, verify_full: Path, verify_ca: Path | None) -> None:
    """Name libpq a file of authorities where it needs one and nothing names one.

    With the milder sslmodes the mere presence of a file would make libpq strict. With verify-ca any
    certificate of a public authority would do, no matter who has it, so only our own authorities are used.
    """
    url = parse_qs((database.url or "").partition("?")[2])
    given = database.sslrootcert or url.get("sslrootcert") or os.environ.get(_LIBPQ)
    if given or _libpq_finds_one():
        return
    mode = url.get("sslmode", [""])[0] or database.sslmode or os.environ.get("PGSSLMODE")
    if mode == "verify-full":
        os.environ[_LIBPQ] = str(verify_full)
    elif mode == "verify-ca" and verify_ca is not None:
        os.environ[_LIBPQ] = str(verify_ca)


def _libpq_finds_one() -> bool:
    try:
        return (Path.home() / ".postgresql" / "root.crt").exists()
    except (RuntimeError, OSError):
        # A container's user often has neither HOME nor a line in /etc/passwd, or it has root's HOME and may
        # not read it; libpq then finds none either.
        return False


def _folder() -> Path:
    """A folder of this process's own, which goes with it."""
    folder = temporary_folder("seawall-authorities-")
    owner = os.getpid()

    def remove() -> None:
        # Children inherit this handler, and use the folder as long as the process that made it.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
