"""Debian's slapd on a free loopback port, with users and groups."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from ldap3 import Connection, Server
from ldap3.core.exceptions import LDAPException

BASE = "dc=seawall,dc=test"
ADMIN_DN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "Directory-12345"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {root}/slapd.pid
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {root}/db
overlay memberof
access to attrs=userPassword by self write by anonymous auth by * none
access to * by * read
"""


class Slapd:
    """An LDAP server of the tests' own."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.url = f"ldap://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and add the organisation."""
        (self.root / "db").mkdir(parents=True, exist_ok=True)
        config = self.root / "slapd.conf"
        config.write_text(_CONFIG.format(root=self.root, base=BASE, admin=ADMIN_DN, password=ADMIN_PASSWORD))
        with (self.root / "slapd.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/slapd", "-h", self.url, "-f", str(config), "-d", "0"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                with self.connect() as connection:
                    if connection.bound:
                        break
            except LDAPException:
                pass
            assert self.process.poll() is None, (self.root / "slapd.log").read_text()
            assert time.monotonic() < deadline, "slapd did not start"
            time.sleep(0.05)
        with self.connect() as connection:
            connection.add(BASE, ["dcObject", "organization"], {"dc": "seawall", "o": "Seawall"})
            for dn in (PEOPLE, GROUPS):
                connection.add(dn, "organizationalUnit")
                assert connection.result["result"] == 0, connection.result

    def connect(self) -> Any:
        """A connection bound as the directory's administrator."""
        return Connection(Server(self.url), ADMIN_DN, ADMIN_PASSWORD, auto_bind=True)

    def add_user(self, uid: str, password: str) -> str:
        """Add a person; returns its DN."""
        dn = f"uid={uid},{PEOPLE}"
        attributes = {
            "cn": f"The {uid}",
            "sn": uid,
            "mail": f"{uid}@seawall.test",
            "userPassword": password,
        }
        with self.connect() as connection:
            connection.add(dn, "inetOrgPerson", attributes)
            assert connection.result["result"] == 0, connection.result
        return dn

    def add_group(self, name: str, *members: str) -> str:
        """Add a group of DNs; returns its DN."""
        dn = f"cn={name},{GROUPS}"
        with self.connect() as connection:
            connection.add(dn, "groupOfNames", {"member": list(members)})
            assert connection.result["result"] == 0, connection.result
        return dn

    def rename(self, dn: str, uid: str) -> None:
        """Give a person another name; the entry is the same one."""
        with self.connect() as connection:
            connection.modify_dn(dn, f"uid={uid}")
            assert connection.result["result"] == 0, connection.result

    def remove(self, dn: str) -> None:
        """Remove an entry."""
        with self.connect() as connection:
            connection.delete(dn)
            assert connection.result["result"] == 0, connection.result

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None
