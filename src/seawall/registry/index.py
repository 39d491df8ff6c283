"""What lists of artifacts show, derived when content changes and stored with it.

Lists of a million artifacts must not look at a million rows, so whether an artifact is shown (`listed`),
its kind, its size with everything it names, and each repository's number of artifacts are columns, kept
in the transaction that changes them.

An artifact is listed unless an index names it and it has no tag of its own, and unless it is an accessory
(signature, SBOM, ...) of an artifact that is there. Harbor hides accessories without a subject too; here
they show, so that nothing takes up storage unseen.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)

from seawall.infra.db.batch import changed, keeps, later, rows
from seawall.registry.belongings import cosign_subject, listed_subject
from seawall.registry.tables import manifest_references, manifests, repositories, tags

if TYPE_CHECKING:
    from seawall.registry.manifest import Manifest

_KINDS = {
    "application/vnd.oci.image.config.v1+json": "IMAGE",
    "application/vnd.docker.container.image.v1+json": "IMAGE",
    "application/vnd.oci.image.index.v1+json": "IMAGE",
    "application/vnd.docker.distribution.manifest.list.v2+json": "IMAGE",
    "application/vnd.cncf.helm.config.v1+json": "CHART",
    "application/vnd.cnab.config.v1+json": "CNAB",
    "application/vnd.wasm.config.v1+json": "WASM",
    "application/vnd.wasm.config.v0+json": "WASM",
    "application/vnd.goharbor.harbor.sbom.v1": "SBOM",
    "application/vnd.cncf.model.config.v1+json": "CNAI",
    "application/vnd.cnai.model.config.v1+json": "CNAI",
}
# What a manifest declares itself to be, which goes before its config.
_DECLARED = {
    "application/vnd.cnai.model.manifest.v1+json": "CNAI",
    "application/vnd.cncf.model.manifest.v1+json": "CNAI",
    "application/vnd.cnab.manifest.v1": "CNAB",
}
# Where bundles of CNAB, which are indexes, say so.
_KIND_NOTE = "org.opencontainers.artifactType"
# `application/vnd.<vendor>.<kind>.config.<version>+json`, from which Harbor takes the kind too.
_CONFIG = re.compile(r"application/vnd\.[^.]+\.(.+)\.config\.[^.+]+(?:\+.+)?")
_ACCESSORIES = {
    "application/vnd.cncf.notary.signature": "signature.notation",
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature.cosign",
    "application/vnd.dev.sigstore.bundle.v0.3+json": "signature.cosign",
    "application/vnd.goharbor.harbor.sbom.v1": "sbom.harbor",
}
# SBOMs that scanners and build tools attach, by artifact type or, where that says nothing, by layer.
_SBOMS = {
    "application/vnd.cyclonedx": "sbom.cyclonedx",
    "application/vnd.cyclonedx+json": "sbom.cyclonedx",
    "application/spdx": "sbom.spdx",
    "application/spdx+json": "sbom.spdx",
    "text/spdx+json": "sbom.spdx",
}
# The types of accessories that are signatures.
SIGNATURES = ("signature.cosign", "signature.notation")
_COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
_BATCH = 500


def kind_of(
    media_type: str,
    artifact_type: str | None,
    config_media_type: str | None,
    annotations: dict[str, str] | None = None,
) -> str:
    """Harbor's artifact type: IMAGE, CHART, CNAB, ..., UNKNOWN."""
    for declared in (artifact_type, (annotations or {}).get(_KIND_NOTE)):
        if declared in _DECLARED:
            return _DECLARED[declared]
    config = config_media_type or ""
    if config == "application/vnd.oci.empty.v1+json":
        config = artifact_type or ""
    for candidate in (config or media_type, artifact_type or ""):
        known = _KINDS.get(candidate)
        if known:
            return known
        match = _CONFIG.fullmatch(candidate)
        if match:
            return match[1].upper()[:64]
    return "UNKNOWN"


def accessory(parsed: Manifest, digest: str, names: Iterable[str]) -> tuple[str, str] | None:
    """(accessory type, digest of the subject) when the manifest belongs to another one.

    By its `subject`, or by a tag that names one (see `seawall.registry.belongings`).
    """
    if parsed.subject is not None:
        declared = parsed.artifact_type or parsed.config_media_type or ""
        known = _ACCESSORIES.get(declared) or _SBOMS.get(declared) or _sbom(parsed)
        return known or "subject.accessory", parsed.subject
    for name in names:
        listed = listed_subject(name) if parsed.lists_artifacts else None
        if listed is not None:
            return "subject.accessory", listed
        found = cosign_subject(name)
        if found is None or found[0] == digest:
            continue
        subject, kind = found
        if kind == "sig" and _COSIGN_LAYER in parsed.layer_types:
            return "signature.cosign", subject
        return _sbom(parsed) or "subject.accessory", subject
    return None


def _sbom(parsed: Manifest) -> str | None:
    return next((_SBOMS[kind] for kind in sorted(parsed.layer_types) if kind in _SBOMS), None)


def children(connection: Connection, manifest_id: int) -> list[int]:
    """Ids of the manifests that an index names."""
    return list(
        connection.execute(
            select(manifests.c.id)
            .join(
                manifest_references,
                and_(
                    manifest_references.c.repository_id == manifests.c.repository_id,
                    manifest_references.c.digest == manifests.c.digest,
                ),
            )
            .where(manifest_references.c.manifest_id == manifest_id, manifest_references.c.kind == "manifest")
        ).scalars()
    )


def holders(connection: Connection, repository_id: int, names: Iterable[str]) -> list[int]:
    """Ids of the manifests that have these tags now."""
    return list(
        connection.execute(
            select(tags.c.manifest_id).where(tags.c.repository_id == repository_id, tags.c.name.in_(names))
        ).scalars()
    )


def accessories(connection: Connection, repository_id: int, digests: Iterable[str]) -> list[int]:
    """Ids of the accessories of these subjects."""
    return list(
        connection.execute(
            select(manifests.c.id).where(
                manifests.c.repository_id == repository_id, manifests.c.accessory_of.in_(digests)
            )
        ).scalars()
    )


def relist_later(connection: Connection, repository_id: int, ids: Iterable[int], at: float) -> None:
    """`relist` by a statement for the end of the transaction; the repository was pushed to `at` (Unix s)."""
    if not keeps(connection):
        relist(connection, repository_id, ids)
        changed(connection, _PUSHED, {"b_repository": repository_id, "b_at": at})
        return
    parameters = {"b_repository": repository_id, "b_ids": sorted(set(ids)), "b_at": at}
    later(connection, _relisting(), parameters)


@functools.cache
def _relisting() -> Any:
    changed = (
        update(manifests)
        .where(manifests.c.id.in_(bindparam("b_ids", expanding=True)), manifests.c.listed != _shown())
        .values(listed=~manifests.c.listed)
        .returning(manifests.c.listed)
        .cte("changed")
    )
    difference = select(func.coalesce(func.sum(case((changed.c.listed, 1), else_=-1)), 0)).scalar_subquery()
    return (
        update(repositories)
        .where(repositories.c.id == bindparam("b_repository"))
        .values(
            artifact_count=repositories.c.artifact_count + cast(difference, BigInteger),
            updated_at=bindparam("b_at"),
            pushed_at=bindparam("b_at"),
        )
    )


def _shown() -> ColumnElement[bool]:
    """Whether lists show a manifest."""
    subject = manifests.alias("subject")
    tagged = exists().where(tags.c.manifest_id == manifests.c.id)
    child = exists().where(
        manifest_references.c.repository_id == manifests.c.repository_id,
        manifest_references.c.digest == manifests.c.digest,
        manifest_references.c.kind == "manifest",
    )
    attached = exists().where(
        subject.c.repository_id == manifests.c.repository_id,
        subject.c.digest == manifests.c.accessory_of,
    )
    return and_(or_(tagged, ~child), ~attached)


def relist(connection: Connection, repository_id: int, ids: Iterable[int], removed: int = 0) -> None:
    """Decide again which of these manifests lists show, and keep the repository's count.

    `removed`: how many listed manifests were deleted in this transaction.
    """
    wanted = sorted(set(ids))
    difference = -removed
    for start in range(0, len(wanted), _BATCH):
        part = wanted[start : start + _BATCH]
        for value in (True, False):
            # Only rows that change are written: most pushes touch one.
            found = [row[0] for row in rows(connection, _to_list(value), {"b_ids": part})]
            if found:
                changed(connection, _LISTED, {"b_ids": found, "b_listed": value})
                difference += len(found) if value else -len(found)
    if difference:
        changed(connection, _COUNTED, {"b_repository": repository_id, "b_difference": difference})


@functools.cache
def _to_list(value: bool) -> Any:
    """Ids of those that lists show (`value` False: do not show) from now on."""
    shown = _shown()
    mine = manifests.c.id.in_(bindparam("b_ids", expanding=True))
    return select(manifests.c.id).where(mine, manifests.c.listed.is_(not value), shown if value else ~shown)


_LISTED = (
    update(manifests)
    .where(manifests.c.id.in_(bindparam("b_ids", expanding=True)))
    .values(listed=bindparam("b_listed"))
)
_COUNTED = (
    update(repositories)
    .where(repositories.c.id == bindparam("b_repository"))
    .values(artifact_count=repositories.c.artifact_count + bindparam("b_difference"))
)
_PUSHED = (
    update(repositories)
    .where(repositories.c.id == bindparam("b_repository"))
    .values(updated_at=bindparam("b_at"), pushed_at=bindparam("b_at"))
)


def recount(connection: Connection, repository_id: int) -> int:
    """Make the repository's columns right from its rows; returns its number of artifacts.

    Needed only after instances of a version without these columns have written to the same database.
    """
    ids = connection.execute(
        select(manifests.c.id).where(manifests.c.repository_id == repository_id)
    ).scalars()
    relist(connection, repository_id, list(ids))
    count = connection.execute(
        select(func.count()).where(manifests.c.repository_id == repository_id, manifests.c.listed.is_(True))
    ).scalar_one()
    connection.execute(
        update(repositories).where(repositories.c.id == repository_id).values(artifact_count=count)
    )
    return int(count)
