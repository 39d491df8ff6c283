"""Logins of `seawall login` on this computer, and Docker's credential helper protocol over them.

Kept in one file that only its owner reads. `docker-credential-seawall get|store|erase|list` is what docker,
podman, skopeo, buildah, crane and oras call; the protocol is that of docker-credential-helpers. Light to
import: clients start a helper for each request.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seawall.infra.file_lock import holder, lock_file

CLIENT_ID = "seawall-cli"
# Docker's words: it takes them for "there is none", and anything else for an error.
_NONE = "credentials not found in native keychain"
_TIMEOUT = 30
# A token is renewed when it lives no longer than this (seconds).
_SOON = 120


class LoginError(Exception):
    """The login failed; the message says why. `code`: the registry's, of RFC 6749."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def folder() -> Path:
    """Where logins are kept (XDG base directories)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "seawall"


def host_of(server: str) -> str:
    """A registry's host and port, as clients name it: with or without scheme and path. Raises LoginError."""
    host = re.sub(r"^https?://", "", server.strip()).partition("/")[0].lower()
    if not re.fullmatch(r"[a-z0-9.\-_]+(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?", host):
        raise LoginError(f"{server[:200]!r} is not the address of a registry")
    return host


@contextlib.contextmanager
def opened() -> Iterator[dict[str, Any]]:
    """The logins by host, for one process at a time; changes are kept. Raises LoginError."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = place / "logins.json"
    # Two helpers must not renew one login at once: the second renewal would end it.
    with (place / "logins.lock").open("a") as lock:
        try:
            lock_file(lock.fileno(), _TIMEOUT * 2)
        except TimeoutError:
            raise LoginError(f"{holder(lock.fileno())} keeps {lock.name} locked; end it") from None
        try:
            kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        except ValueError:
            raise LoginError(f"{file} is not JSON; delete it and sign in again") from None
        before = json.dumps(kept)
        try:
            yield kept
        finally:
            if json.dumps(kept) != before:
                handle, name = tempfile.mkstemp(dir=place)
                with os.fdopen(handle, "w") as out:
                    json.dump(kept, out, indent=1)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(name, file)


def ask(url: str, path: str, ca_file: str | None = None, **fields: str) -> dict[str, Any]:
    """What an OAuth endpoint of the registry at `url` answers. Raises LoginError."""
    data = urllib.parse.urlencode({"client_id": CLIENT_ID, **fields}).encode()
    request = urllib.request.Request(url + path, data, {"Accept": "application/json"})  # noqa: S310
    handlers: list[Any] = [_NoRedirect()]
    if url.startswith("https://"):
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            why = "no certificate is in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise LoginError(f"{ca_file}: {why}") from None
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT) as answer:
            found = json.loads(answer.read(65536))
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from None
    except (OSError, ValueError) as error:
        raise LoginError(f"{url} {_trouble(getattr(error, 'reason', error))}") from None
    if not isinstance(found, dict):
        raise LoginError(f"{url} does not answer as a Seawall does")
    return found


def _trouble(reason: object) -> str:
    """What is wrong with a registry that cannot be asked, and the cure."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({reason.verify_message}); give its CA with --ca-file"
    if isinstance(reason, ssl.SSLError):
        return "does not speak TLS; a registry on this computer may be named as http://HOST:PORT"
    if isinstance(reason, ConnectionRefusedError):
        return "does not answer: nothing listens there"
    if isinstance(reason, socket.gaierror):
        return "does not answer: no such host is known"
    if isinstance(reason, TimeoutError):
        return f"does not answer within {_TIMEOUT} s"
    return f"cannot be asked: {getattr(reason, 'strerror', None) or reason}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        """Credentials go to the registry that was named, and nowhere else."""


def _refusal(url: str, error: urllib.error.HTTPError) -> LoginError:
    try:
        body = json.loads(error.read(65536))
        return LoginError(str(body.get("error_description") or body["error"]), str(body["error"]))
    except (ValueError, KeyError, AttributeError, OSError):
        return LoginError(f"{url} answered {error.code}; is it a Seawall that knows `seawall login`?")


def keep(kept: dict[str, Any], host: str, url: str, given: dict[str, Any], ca_file: str | None) -> None:
    """Keep what the registry gave."""
    kept[host] = {
        "url": url,
        "username": given["username"],
        "token": given["access_token"],
        "refresh": given["refresh_token"],
        "until": time.time() + int(given["expires_in"]),
        **({"ca_file": ca_file} if ca_file else {}),
    }


def get(server: str) -> tuple[str, str] | None:
    """(user, secret) for a registry, renewed when its end is near; None when there is no login.

    Raises LoginError when there was one.
    """
    host = host_of(server)
    with opened() as kept:
        found = kept.get(host)
        if found is None:
            return None
        if "refresh" in found and found["until"] - time.time() < _SOON:
            try:
                fields = {"grant_type": "refresh_token", "refresh_token": found["refresh"]}
                given = ask(found["url"], "/oauth/token", found.get("ca_file"), **fields)
            except LoginError as error:
                if error.code == "invalid_grant":
                    del kept[host]
                    raise LoginError(f"{host}: {error}; run: seawall login {host}", error.code) from None
                # It may be good for a while yet.
                if found["until"] <= time.time():
                    raise
            else:
                keep(kept, host, found["url"], given, found.get("ca_file"))
        found = kept[host]
        return found["username"], found["token"]


def forget(server: str) -> bool:
    """End the login at a registry, there too where it answers; whether there was one."""
    host = host_of(server)
    with opened() as kept:
        found = kept.pop(host, None)
    if found is not None and "refresh" in found:
        with contextlib.suppress(LoginError):
            ask(found["url"], "/oauth/revoke", found.get("ca_file"), token=found["refresh"])
    return found is not None


def _run(action: str, given: str) -> int:
    if action == "get":
        found = get(given)
        if found is None:
            print(_NONE)
            return 1
        print(json.dumps({"ServerURL": given.strip(), "Username": found[0], "Secret": found[1]}))
    elif action == "store":
        try:
            item = json.loads(given)
            host, username, secret = host_of(item["ServerURL"]), str(item["Username"]), str(item["Secret"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LoginError("store takes a JSON object with ServerURL, Username and Secret") from None
        with opened() as kept:
            kept[host] = {"username": username, "token": secret}
    elif action == "erase":
        forget(given)
    elif action == "list":
        with opened() as kept:
            print(json.dumps({host: item["username"] for host, item in kept.items()}))
    else:
        raise LoginError("usage: docker-credential-seawall get|store|erase|list")
    return 0


def main() -> None:
    """`docker-credential-seawall`."""
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        code = _run(action, "" if action in ("", "list") else sys.stdin.read(65536))
    except (LoginError, OSError) as error:
        # Clients read standard output for the reason.
        print(error)
        code = 1
    raise SystemExit(code)
