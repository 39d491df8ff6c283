"""Who runs Seawall, and what that user may do with files."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The user of Seawall's image (deploy/docker/Dockerfile).
IMAGE_USER = 10001


@dataclass(frozen=True, slots=True)
class Owner:
    """A user by name ("" when the host has none) and numbers."""

    name: str
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"user {self.name} ({self.uid})" if self.name else f"user {self.uid}"


def owner_of(user: str) -> Owner:
    """The user that prepared files belong to.

    Root gives them to `user`, or, where the host has no such user, to the image's. Anybody else keeps them.
    """
    if os.geteuid() != 0:
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = ""
        return Owner(name, os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return Owner("", IMAGE_USER, IMAGE_USER)
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)


def as_owner(owner: Owner, work: Callable[[], Any]) -> Any:
    """What `work` returns (JSON-able) when `owner` does it, in a process of its own.

    Only root can become somebody else; without that `work` is done as who we are.
    """
    if os.geteuid() != 0 or owner.uid == 0:
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.setgroups(os.getgrouplist(owner.name, owner.gid) if owner.name else [owner.gid])
            os.setgid(owner.gid)
            os.setuid(owner.uid)
            with os.fdopen(writing, "w") as out:
                json.dump(work(), out)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    if not text:
        raise OSError(f"cannot act as {owner}")
    return json.loads(text)


def can_read(owner: Owner, path: str) -> str | None:
    """None, or why `owner` cannot read the file."""

    def read() -> str | None:
        try:
            with open(path, "rb") as handle:
                handle.read(1)
        except OSError as error:
            return error.strerror or "failed"
        return None

    reason: str | None = as_owner(owner, read)
    return reason


def can_write(owner: Owner, folder: str) -> str | None:
    """None, or why `owner` cannot make, rename and delete a file in the folder."""

    def write() -> str | None:
        name = os.path.join(folder, f".seawall-check-{os.getpid()}")
        try:
            with open(name, "xb") as handle:
                handle.write(b"x")
            os.rename(name, f"{name}.2")
            os.unlink(f"{name}.2")
        except OSError as error:
            return error.strerror or "failed"
        return None

    reason: str | None = as_owner(owner, write)
    return reason
