"""What the gates on pulls let through unjudged: attachments of an artifact that is here, and what is to be
signed.

A tool that signs reads the manifest it is to sign, and looks to the registry like any other client of its
account. So it needs a right of its own, which people do not have: that of a robot account made for signing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import msgspec
from sqlalchemy import Connection

from seawall.access.access import may, project_by_name
from seawall.access.principal import Principal, RobotGrant
from seawall.access.rbac import SIGNING
from seawall.access.service import AuthService
from seawall.infra.db import Database
from seawall.kernel.context import actor
from seawall.kernel.errors import InvalidError, NotFoundError, RegistryError
from seawall.registry.artifacts import ArtifactService
from seawall.registry.attachments import is_attachment, needs_a_look
from seawall.registry.belongings import cosign_subject
from seawall.registry.lookups import find_manifest, holds_any
from seawall.registry.manifest import Manifest, parse
from seawall.registry.model import StoredManifest
from seawall.registry.tags import tag_names

# Signatures and attestations are small; what is larger and calls itself an image is taken for one.
_LOOK_BYTES = 4 * 1024 * 1024


class Exemptions:
    """Answers for both gates, by what a manifest is and who asks."""

    def __init__(self, db: Database, artifacts: ArtifactService, auth: AuthService) -> None:
        self._auth = auth
        self._db = db
        self._artifacts = artifacts
        # What was read of a manifest's layers; they never change.
        self._texts: OrderedDict[tuple[str, str], bool] = OrderedDict()

    async def exempt(self, repository: str, stored: StoredManifest, reference: str) -> bool:
        """Whether a manifest may be sent without being judged."""
        return await self._attached(repository, stored, reference) or await self._signing(repository)

    async def _attached(self, repository: str, stored: StoredManifest, reference: str) -> bool:
        """Whether it is a signature, attestation or SBOM, by all it declares, of an artifact that is here."""
        try:
            manifest = parse(stored.payload, stored.media_type)
        except RegistryError:
            return False
        if not is_attachment(manifest):
            return False
        subject = manifest.subject
        if subject is not None:
            named = {subject}
        else:
            named = set(await self._db.point(lambda c: _tagged(c, repository, stored.digest)))
            named |= {found for found in (_subject_of(reference),) if found is not None}
        named.discard(stored.digest)
        if not named or not await self._db.point(lambda c: holds_any(c, repository, sorted(named))):
            return False
        return not needs_a_look(manifest) or await self._is_text(repository, stored.digest, manifest)

    async def _is_text(self, repository: str, digest: str, manifest: Manifest) -> bool:
        """Whether every blob that the manifest names is JSON, and so no archive that could be unpacked."""
        key = (repository, digest)
        known = self._texts.get(key)
        if known is not None:
            self._texts.move_to_end(key)
            return known
        found = True
        for blob in manifest.blobs:
            try:
                msgspec.json.decode(await self._artifacts.read(repository, blob, _LOOK_BYTES))
            except NotFoundError:
                # A proxy cache may not have it yet.
                return False
            except (InvalidError, RegistryError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                found = False
                break
        self._texts[key] = found
        if len(self._texts) > 4096:
            self._texts.popitem(last=False)
        return found

    async def _signing(self, repository: str) -> bool:
        """Whether the caller is a robot account with the right to sign, given by name."""
        who = actor.get().name
        if not self._auth.required or not who.startswith(await self._auth.robot_prefix()):
            return False
        robot = await self._auth.user(who)
        if robot is None or robot.kind != "robot":
            return False
        grants = [grant for grant in robot.grants if SIGNING in grant.access]
        return await self._db.point(lambda c: _granted(c, robot, grants, repository))


def _granted(connection: Connection, robot: Principal, grants: list[RobotGrant], repository: str) -> bool:
    """Whether one of the grants is about the repository's project."""
    project = project_by_name(connection, repository.partition("/")[0])
    return project is not None and may(connection, replace(robot, grants=tuple(grants)), project, *SIGNING)


def _tagged(connection: Connection, repository: str, digest: str) -> list[str]:
    """The digests that the tags of a manifest speak of in cosign's scheme."""
    found = find_manifest(connection, repository, digest)
    names = tag_names(connection, found.id) if found is not None else []
    return [subject for subject in map(_subject_of, names) if subject is not None]


def _subject_of(tag: str) -> str | None:
    found = cosign_subject(tag)
    return found[0] if found is not None else None
