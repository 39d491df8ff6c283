"""What belongs to an artifact: the one definition, for every part that copies, lists, protects or deletes.

A manifest belongs to an artifact of the same repository, its subject, when

- its `subject` names it (OCI Image 1.1), or
- it was pushed under a tag of cosign's scheme that names it: `sha256-<hex>.sig`, `.att` or `.sbom`;
- it is an index of artifacts that was pushed under the tag `sha256-<hex>`: the list of referrers that clients
  write where they do not count on the referrers API (Distribution 1.1, "Referrers Tag Schema"), as `notation
  sign` does by itself. The list is not a referrer, and those that it lists can be deleted.

`manifests.accessory_of` holds the subject's digest in each case. A manifest that an index names is part of
that index (`manifest_references`). A tag of cosign's scheme says whose its manifest is; it is not a name that
rules or filters for tags speak of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, FromClause, and_, exists, func, or_, select

from seawall.registry.manifest import OCI_INDEX
from seawall.registry.tables import manifest_references, manifests, tags

COSIGN_SUFFIXES = (".sig", ".att", ".sbom")
# The subject's digest with "-" for ":", and what is attached.
_COSIGN_TAG = re.compile(r"(?:(sha256)-([0-9a-f]{64})|(sha512)-([0-9a-f]{128}))\.(sig|att|sbom)")
_REFERRERS_TAG = re.compile(r"sha256-[0-9a-f]{64}")
# A signature of a signature of a child of an index of indexes ... ends somewhere.
_MOST_STEPS = 100


def cosign_tags(digest: str) -> list[str]:
    """The tags under which cosign attaches something to an artifact."""
    return [digest.replace(":", "-", 1) + suffix for suffix in COSIGN_SUFFIXES]


def cosign_subject(tag: str) -> tuple[str, str] | None:
    """(digest of the subject, `sig`, `att` or `sbom`) of a tag of cosign's scheme; None for any other tag."""
    match = _COSIGN_TAG.fullmatch(tag)
    if match is None:
        return None
    return f"{match[1] or match[3]}:{match[2] or match[4]}", match[5]


def listed_subject(tag: str) -> str | None:
    """The digest of the artifact whose referrers an index under this tag lists; None for any other tag."""
    return tag.replace("-", ":", 1) if _REFERRERS_TAG.fullmatch(tag) else None


def names_subject(tag: str) -> bool:
    """Whether the tag says whose its manifest is, unlike a name that people give."""
    return cosign_subject(tag) is not None or listed_subject(tag) is not None


def cosign_artifact_type(kind: str) -> str:
    """What cosign calls its `sig`, `att` or `sbom` where it uses the referrers API."""
    return f"application/vnd.dev.cosign.artifact.{kind}.v1+json"


def is_referrer(digest: str) -> ColumnElement[bool]:
    """Whether a manifest refers to the artifact: by its subject, or by a tag that it has now."""
    tagged = exists().where(tags.c.manifest_id == manifests.c.id)
    attached = and_(manifests.c.accessory_of == digest, manifests.c.media_type != OCI_INDEX, tagged)
    return or_(manifests.c.subject_digest == digest, attached)


def parent(connection: Connection, repository_id: int, digest: str) -> int | None:
    """The id of an index that names the manifest as a part of it, None when none does."""
    query = (
        select(manifest_references.c.manifest_id)
        .join(manifests, manifests.c.id == manifest_references.c.manifest_id)
        .where(
            manifest_references.c.repository_id == repository_id,
            manifest_references.c.digest == digest,
            manifest_references.c.kind == "manifest",
            ~_lists_referrers(manifests),
        )
    )
    return connection.execute(query.limit(1)).scalar()


def _lists_referrers(of: FromClause) -> ColumnElement[bool]:
    # An index that is attached to a subject of its own has parts.
    return and_(of.c.media_type == OCI_INDEX, of.c.subject_digest.is_(None), of.c.accessory_of.is_not(None))


def names_of(connection: Connection, repository_id: int, digests: Iterable[str]) -> set[str]:
    """The tags that artifacts go by: their own, and those of all that they belong to or are part of.

    Tags that name a subject are left out.
    """
    names: set[str] = set()
    left, seen = list(digests), set[str]()
    while left and len(seen) < _MOST_STEPS:
        digest = left.pop()
        if digest in seen:
            continue
        seen.add(digest)
        here = and_(manifests.c.repository_id == repository_id, manifests.c.digest == digest)
        own = connection.execute(
            select(tags.c.name).join(manifests, manifests.c.id == tags.c.manifest_id).where(here)
        ).scalars()
        names |= {name for name in own if not names_subject(name)}
        subject = connection.execute(select(manifests.c.accessory_of).where(here)).scalar()
        if subject is not None:
            left.append(subject)
        above = (
            select(manifests.c.digest)
            .join(manifest_references, manifest_references.c.manifest_id == manifests.c.id)
            .where(
                manifest_references.c.repository_id == repository_id,
                manifest_references.c.digest == digest,
                manifest_references.c.kind == "manifest",
            )
        )
        left += connection.execute(above).scalars()
    return names


def is_needed() -> ColumnElement[bool]:
    """Whether something keeps a manifest: a tag that is its own, an index, or the subject it belongs to.

    A tag that names a subject keeps its manifest for as long as the subject is there. A signature that cosign
    has replaced has neither tag nor subject, so nothing keeps it.
    """
    child = manifest_references.alias()
    # A name that people give may look the same (`sha-1a2b3c4.sbom`): it must be the subject's digest.
    stem = func.replace(manifests.c.accessory_of, ":", "-")
    for_subject = tags.c.name.in_([stem, *(stem.concat(suffix) for suffix in COSIGN_SUFFIXES)])
    named = exists().where(
        tags.c.manifest_id == manifests.c.id, or_(manifests.c.accessory_of.is_(None), ~for_subject)
    )
    part = exists().where(
        child.c.repository_id == manifests.c.repository_id,
        child.c.digest == manifests.c.digest,
        child.c.kind == "manifest",
    )
    return or_(part, named, is_attached())


def is_attached() -> ColumnElement[bool]:
    """Whether a manifest belongs to an artifact that is here, which keeps it."""
    subject = manifests.alias()
    tagged = exists().where(tags.c.manifest_id == manifests.c.id)
    there = exists().where(
        subject.c.repository_id == manifests.c.repository_id, subject.c.digest == manifests.c.accessory_of
    )
    return and_(there, or_(manifests.c.subject_digest.is_not(None), tagged))
