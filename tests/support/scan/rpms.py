"""rpm databases of the three backends.

Headers are made by the real rpmbuild and rpm. SQLite's database is rpm's own, Berkeley DB's is written by
Berkeley DB's loader, ndb's by this module after rpm's format (Debian's rpm is built without it); syft reads
all three in test_recall.
"""

from __future__ import annotations

import sqlite3
import struct
import subprocess
from pathlib import Path

PACKAGES = (("alpha", 0), ("beta", 3), ("long", 0))


def rpm_databases(root: Path) -> dict[str, bytes]:
    """Database file by backend; each holds the packages alpha, beta (epoch 3) and long."""
    for name, epoch in PACKAGES:
        lines = [f"Name: {name}", f"Version: 1.{len(name)}", "Release: 2.el9", "Summary: s", "License: MIT"]
        if epoch:
            lines.append(f"Epoch: {epoch}")
            lines.append("ModularityLabel: tools:3:8040020210817133458:522a0ee4")
        lines += ["BuildArch: noarch", "%description", "x" * (9000 if name == "long" else 9), "%files", ""]
        spec = root / f"{name}.spec"
        spec.write_text("\n".join(lines))
        _run("rpmbuild", "-bb", "--define", f"_topdir {root}/top", str(spec))
    built = [str(path) for path in sorted((root / "top").rglob("*.rpm"))]
    _run(
        *("rpm", "--dbpath", str(root / "db"), "-i", "--force-debian", "--justdb", "--nodeps"),
        *("--nosignature", "--noplugins", *built),
    )
    with sqlite3.connect(root / "db" / "rpmdb.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = connection.execute("SELECT hnum, blob FROM Packages").fetchall()
    return {
        "sqlite": (root / "db" / "rpmdb.sqlite").read_bytes(),
        "berkeley": _berkeley(root / "Packages", rows),
        "ndb": _ndb(rows),
    }


def _run(*command: str, stdin: str = "") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _berkeley(target: Path, rows: list[tuple[int, bytes]]) -> bytes:
    dump = ["VERSION=3", "format=bytevalue", "type=hash", "db_pagesize=4096", "HEADER=END"]
    for number, blob in [(0, b"\x03\0\0\0"), *rows]:
        dump += [" " + struct.pack("<I", number).hex(), " " + blob.hex()]
    _run("db5.3_load", str(target), stdin="\n".join([*dump, "DATA=END", ""]))
    return target.read_bytes()


def _ndb(rows: list[tuple[int, bytes]]) -> bytes:
    slots = [struct.pack("<4sIIIIIII", b"RpmP", 0, 1, 1, len(rows) + 1, 0, 0, 0)]
    blobs = b""
    for number, blob in rows:
        size = -(-(len(blob) + 28) // 16)  # 16-byte blocks: 16 of head, 12 of tail
        slots.append(struct.pack("<4sIII", b"Slot", number, 256 + len(blobs) // 16, size))
        body = struct.pack("<4sIII", b"BlbS", number, 1, len(blob)) + blob
        body += b"\0" * (size * 16 - len(body) - 12) + struct.pack("<II4s", 0, len(blob), b"BlbE")
        blobs += body
    free = (4096 - sum(map(len, slots))) // 16
    return b"".join(slots) + struct.pack("<4sIII", b"Slot", 0, 0, 0) * free + blobs
