"""A Harbor's database as small as an adoption needs it, filled from what a Distribution has in its folder.

`TABLES` declares the columns that are read, with Harbor's names; tests make the rows. The same rows go into
a database that Harbor's own migrations have made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from psycopg import sql

SECRET_KEY = "not-a-secret-key"
_ID = "id serial PRIMARY KEY"
_MADE = "creation_time timestamp DEFAULT now(), update_time timestamp DEFAULT now()"
TABLES = {
    "schema_migrations": "version bigint, dirty boolean",
    "harbor_user": f"user_id serial PRIMARY KEY, username varchar, email varchar, password varchar, "
    "realname varchar, comment varchar, deleted boolean DEFAULT false, salt varchar, "
    f"sysadmin_flag boolean DEFAULT false, password_version varchar, {_MADE}",
    "oidc_user": f"{_ID}, user_id int, secret varchar, subiss varchar, token text, {_MADE}",
    "user_group": f"{_ID}, group_name varchar, group_type smallint, ldap_group_dn varchar, {_MADE}",
    "project": f"project_id serial PRIMARY KEY, owner_id int, name varchar, deleted boolean DEFAULT false, "
    f"registry_id int, {_MADE}",
    "project_metadata": f"{_ID}, project_id int, name varchar, value varchar, {_MADE}",
    "project_member": f"{_ID}, project_id int, entity_id int, entity_type char(1), role int, {_MADE}",
    "quota": f"{_ID}, reference varchar, reference_id varchar, hard jsonb, {_MADE}",
    "cve_allowlist": f"{_ID}, project_id int, expires_at bigint, items text, {_MADE}",
    "robot": f"{_ID}, name varchar, description varchar, project_id int, expiresat bigint, "
    "disabled boolean DEFAULT false, visible boolean DEFAULT true, secret varchar, salt varchar, "
    f"duration int, {_MADE}",
    "permission_policy": f"{_ID}, scope varchar, resource varchar, action varchar, effect varchar",
    "role_permission": f"{_ID}, role_type varchar, role_id int, permission_policy_id int",
    "harbor_label": f"{_ID}, name varchar, description text, color varchar, level char(1), "
    f"scope char(1), project_id int, deleted boolean DEFAULT false, {_MADE}",
    "label_reference": f"{_ID}, label_id int, artifact_id int, {_MADE}",
    "repository": f"repository_id serial PRIMARY KEY, name varchar, project_id int, description text, "
    f"pull_count int DEFAULT 0, star_count int DEFAULT 0, {_MADE}",
    "artifact": f"{_ID}, project_id int, repository_name varchar, digest varchar, type varchar, "
    "pull_time timestamp, push_time timestamp, repository_id int, media_type varchar, "
    "manifest_media_type varchar, size bigint, artifact_type varchar",
    "tag": f"{_ID}, repository_id int, artifact_id int, name varchar, push_time timestamp, "
    "pull_time timestamp",
    "artifact_accessory": f"{_ID}, artifact_id bigint, subject_artifact_id bigint, type varchar, "
    "size bigint, digest varchar, subject_artifact_digest varchar, subject_artifact_repo varchar",
    "registry": f"{_ID}, name varchar, url varchar, access_key varchar, access_secret varchar, "
    "insecure boolean DEFAULT false, credential_type varchar, type varchar, description text, "
    f"health varchar, {_MADE}",
    "replication_policy": f"{_ID}, name varchar, dest_registry_id int, enabled boolean, "
    "description text, deleted boolean DEFAULT false, trigger varchar, filters varchar, "
    "replicate_deletion boolean DEFAULT false, src_registry_id int, dest_namespace varchar, "
    f"override boolean DEFAULT true, dest_namespace_replace_count int, speed_kb int, {_MADE}",
    "retention_policy": f"{_ID}, scope_level varchar, scope_reference int, trigger_kind varchar, "
    "data text, create_time timestamp DEFAULT now(), update_time timestamp DEFAULT now()",
    "immutable_tag_rule": f"{_ID}, project_id int, tag_filter text, "
    "disabled boolean DEFAULT false, creation_time timestamp DEFAULT now()",
    "notification_policy": f"{_ID}, name varchar, project_id int, enabled boolean, "
    f"description text, targets text, event_types text, creator varchar, {_MADE}",
    "p2p_preheat_instance": f"{_ID}, name varchar, description varchar, vendor varchar, "
    "endpoint varchar, auth_mode varchar, auth_data text, enabled boolean, is_default boolean, "
    "insecure boolean, setup_timestamp bigint",
    "p2p_preheat_policy": f"{_ID}, name varchar, description varchar, project_id int, "
    f"provider_id int, filters varchar, trigger varchar, enabled boolean, {_MADE}",
    "scanner_registration": f"{_ID}, uuid varchar, url varchar, name varchar, "
    "description varchar, auth varchar, access_cred varchar, disabled boolean, is_default boolean, "
    "use_internal_addr boolean, immutable boolean, skip_cert_verify boolean, "
    "create_time timestamp DEFAULT now(), update_time timestamp DEFAULT now()",
    "scan_report": f"{_ID}, uuid varchar UNIQUE, digest varchar, registration_uuid varchar, "
    "mime_type varchar, report json",
    "sbom_report": f"{_ID}, uuid varchar UNIQUE, artifact_id int, registration_uuid varchar, "
    "mime_type varchar, media_type varchar, report json",
    "vulnerability_record": f"{_ID}, cve_id text, registration_uuid text, package text, "
    "package_version text, package_type text DEFAULT '', severity text, fixed_version text, urls text, "
    "cvss_score_v3 double precision, cvss_score_v2 double precision, cvss_vector_v3 text, "
    "cvss_vector_v2 text, description text, cwe_ids text, vendor_attributes json",
    "report_vulnerability_record": f"{_ID}, report_uuid text, vuln_record_id bigint",
    "schedule": f"{_ID}, vendor_type varchar, vendor_id int, cron varchar, "
    f"callback_func_param text, extra_attrs json, {_MADE}",
    "properties": f"{_ID}, k varchar, v varchar",
    "audit_log": f"{_ID}, project_id int, operation varchar, resource_type varchar, "
    "resource varchar, username varchar, op_time timestamp DEFAULT now()",
}


def sealed(text: str, key: str = SECRET_KEY) -> str:
    """As Harbor stores what it encrypts under its secret key."""
    start = os.urandom(16)
    encryptor = Cipher(algorithms.AES(key.encode()), CFB(start)).encryptor()
    return "<enc-v1>" + base64.b64encode(start + encryptor.update(text.encode())).decode()


def hashed(text: str, salt: str, version: str = "sha256") -> str:
    """As Harbor stores a password or a robot's secret."""
    rounds = 600_000 if version == "pbkdf2_sha256" else 4096
    name = version.removeprefix("pbkdf2_")
    return hashlib.pbkdf2_hmac(name, text.encode(), salt.encode(), rounds, 16).hex()


class Harbor:
    """The database, by its rows."""

    def __init__(self, url: str, *, version: int = 180, own_schema: bool = True) -> None:
        """`own_schema`: make the tables; otherwise Harbor's migrations have made them."""
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)
        if own_schema:
            for table, columns in TABLES.items():
                self.connection.execute(f"CREATE TABLE {table} ({columns})")
            self.add("schema_migrations", version=version, dirty=False)
            self.user("admin", "Harbor12345", sysadmin_flag=True)
            self.project("library", public=True)

    def close(self) -> None:
        self.connection.close()

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """A statement with %s for the values; returns its rows."""
        cursor = self.connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def add(self, table: str, returning: str | None = None, **values: Any) -> int:
        """Insert a row; returns the column `returning`."""
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        if returning is None:
            self.connection.execute(query, list(values.values()))
            return 0
        query += sql.SQL(" RETURNING {}").format(sql.Identifier(returning))
        row = self.connection.execute(query, list(values.values())).fetchone()
        assert row is not None
        return int(row[0])

    def secret(self, text: str) -> tuple[str, str]:
        """(hash, salt) of a password."""
        return hashed(text, "some-salt"), "some-salt"

    def user(self, name: str, password: str, version: str = "sha256", **values: Any) -> int:
        """A user with a password; returns the id."""
        salt = f"salt-of-{name}"[:16]
        row = {
            "username": name,
            "email": f"{name}@example.com",
            "realname": name,
            "comment": "",
            "password": hashed(password, salt, version),
            "salt": salt,
            "password_version": version,
            **values,
        }
        return self.add("harbor_user", "user_id", **row)

    def project(self, name: str, *, public: bool = False, owner: int = 1, **values: Any) -> int:
        """A project with the rows that every project has; returns the id."""
        number = self.add("project", "project_id", name=name, owner_id=owner, **values)
        self.add("project_metadata", project_id=number, name="public", value=str(public).lower())
        self.add("quota", reference="project", reference_id=str(number), hard='{"storage": -1}')
        self.add("project_member", project_id=number, entity_id=owner, entity_type="u", role=1)
        return number

    def robot(self, name: str, secret: str, grants: list[tuple[str, str, str]], **values: Any) -> int:
        """A robot with (scope, resource, action) of each permission; returns the id."""
        row = {
            "description": "",
            "expiresat": -1,
            "duration": -1,
            "project_id": 0,
            "salt": "robot-salt",
            **values,
        }
        number = self.add("robot", "id", name=name, secret=hashed(secret, row["salt"]), **row)
        for scope, resource, action in grants:
            policy = self.add(
                "permission_policy", "id", scope=scope, resource=resource, action=action, effect="allow"
            )
            self.add("role_permission", role_type="robotaccount", role_id=number, permission_policy_id=policy)
        return number

    def repository(self, project: int, name: str, tree: Path) -> int:
        """The rows of a repository as Harbor has them after pushes, from what is in the tree.

        `tree`: a Distribution's root folder. Returns the repository's id.
        """
        found = self.run("SELECT repository_id FROM repository WHERE name = %s", name)
        number = (
            found[0][0]
            if found
            else self.add("repository", "repository_id", name=name, project_id=project, description="")
        )
        folder = tree / "docker/registry/v2/repositories" / name / "_manifests"
        artifacts = dict(self.run("SELECT digest, id FROM artifact WHERE repository_id = %s", number))
        for link in sorted((folder / "revisions/sha256").iterdir()):
            digest = f"sha256:{link.name}"
            if digest not in artifacts and (link / "link").exists():
                artifacts[digest] = self.artifact(number, project, name, digest, tree)
        for tag in sorted((folder / "tags").iterdir()) if (folder / "tags").exists() else ():
            if not (tag / "current/link").exists():
                continue
            digest = (tag / "current/link").read_text().strip()
            self.run("DELETE FROM tag WHERE repository_id = %s AND name = %s", number, tag.name)
            self.add(
                "tag",
                repository_id=number,
                artifact_id=artifacts[digest],
                name=tag.name,
                push_time="2024-05-06 07:08:09",
                pull_time="0001-01-01 00:00:00",
            )
        return number

    def artifact(self, repository: int, project: int, name: str, digest: str, tree: Path) -> int:
        """The row of one manifest of the tree; returns its id."""
        text = (tree / blob_file(digest)).read_bytes()
        document = json.loads(text)
        media_type = document.get("mediaType") or "application/vnd.oci.image.manifest.v1+json"
        return self.add(
            "artifact",
            "id",
            project_id=project,
            repository_id=repository,
            repository_name=name,
            digest=digest,
            type="IMAGE",
            media_type=document.get("config", {}).get("mediaType", media_type),
            manifest_media_type=media_type,
            artifact_type=document.get("artifactType") or media_type,
            size=len(text),
            push_time="2024-01-02 03:04:05",
            pull_time="2024-02-03 04:05:06",
        )


def blob_file(digest: str) -> str:
    """Where a Distribution has a blob, relative to its root folder."""
    value = digest.partition(":")[2]
    return f"docker/registry/v2/blobs/sha256/{value[:2]}/{value}/data"
