"""What belongs to an artifact: by its subject, by cosign's tags, or as a part of an index."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seawall.features.immutability import rules as immutability
from seawall.kernel.errors import RegistryError
from seawall.registry.belongings import names_of
from seawall.registry.gc import GcReport, collect
from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST
from tests.support.lab import Lab, Run

SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
ATTESTATION = "application/vnd.dev.cosign.artifact.att.v1+json"


def cosign_tag(digest: str, suffix: str) -> str:
    return digest.replace(":", "-") + suffix


async def sign(lab: Lab, digest: str, layers: list[bytes]) -> str:
    return await lab.image("p/a", cosign_tag(digest, ".sig"), layers=layers, layer_type=SIGNING)


async def clean(lab: Lab) -> GcReport:
    return await collect(
        lab.db,
        lab.services.storage,
        grace_seconds=0,
        upload_seconds=3600,
        reader_seconds=0,
        delete_untagged=True,
    )


async def refused(work: Any) -> str:
    with pytest.raises(RegistryError) as caught:
        await work
    assert (caught.value.code, caught.value.status) == ("DENIED", 412)
    return caught.value.message


async def referrers(lab: Lab, digest: str, kind: str | None = None) -> dict[str, str]:
    """Artifact types by digest."""
    found, _ = await lab.content.referrers("p/a", digest, kind, 100, 0)
    return {item["digest"]: item["artifactType"] for item in found}


def test_referrers_are_what_cosign_attached_too(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        image = await lab.image("p/a", "v1")
        signature = await sign(lab, image, [b"one"])
        attestation = await lab.image("p/a", cosign_tag(image, ".att"))
        described = {"mediaType": "x/y", "digest": image, "size": 1}
        sbom = await lab.image("p/a", subject=described, artifactType="example/sbom")
        # A tag of another artifact's, and a name that only looks like cosign's.
        await lab.image("p/a", cosign_tag("sha256:" + "0" * 64, ".sig"))
        await lab.image("p/a", "sha256-123.sig")
        by_tag = {signature: IMAGE_CONFIG, attestation: IMAGE_CONFIG}
        assert await referrers(lab, image) == {**by_tag, sbom: "example/sbom"}
        assert await referrers(lab, image, IMAGE_CONFIG) == by_tag
        # cosign asks for its own names of them.
        for digest, kind in ((signature, SIGNATURE), (attestation, ATTESTATION), (sbom, "example/sbom")):
            assert await referrers(lab, image, kind) == {digest: kind}
        # Signed again, the tag has a new manifest; the old one is no referrer any more.
        both = await sign(lab, image, [b"one", b"two"])
        assert set(await referrers(lab, image)) == {both, attestation, sbom}

    run(body)


def test_collection_takes_what_has_lost_its_artifact(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        kept, lost = await lab.image("p/a", "kept"), await lab.image("p/a", "lost")
        kept_signature = await sign(lab, kept, [b"kept"])
        lost_signature = await sign(lab, lost, [b"lost"])
        attested = await lab.image("p/a", cosign_tag(lost, ".att"))
        countersigned = await sign(lab, attested, [b"of the attestation"])
        # A name of its own keeps it, whatever it belonged to.
        named = await lab.image(
            "p/a", "named", subject={"mediaType": "x/y", "digest": lost, "size": 1}, artifactType="example/x"
        )
        assert (await clean(lab)).manifests == 0
        await lab.content.delete_manifest("p/a", lost)
        assert (await clean(lab)).manifests == 3
        for digest in (lost_signature, attested, countersigned):
            with pytest.raises(RegistryError) as caught:
                await lab.content.manifest("p/a", digest)
            assert caught.value.code == "MANIFEST_UNKNOWN"
        for digest in (kept, kept_signature, named):
            await lab.content.manifest("p/a", digest)
        assert await lab.content.tags("p/a", 10, None) == ["kept", "named", cosign_tag(kept, ".sig")]
        # What cosign replaced goes too: nobody finds it.
        both = await sign(lab, kept, [b"kept", b"more"])
        assert (await clean(lab)).manifests == 1
        assert set(await referrers(lab, kept)) == {both}
        assert await lab.count("p/a") == 2

    run(body)


def test_a_name_that_looks_like_cosigns_keeps_what_has_lost_its_artifact(run: Run) -> None:
    """As CI names things: by a commit; and a signature of two artifacts is kept by the one that is left."""

    async def body(lab: Lab) -> None:
        await lab.project()
        lost, left = await lab.image("p/a", "lost"), await lab.image("p/a", "left")
        subject = {"mediaType": "x/y", "digest": lost, "size": 1}
        names = ["sha-860c190.sbom", "sharp-1.0.sig", "sha256-" + "g" * 64, "sha256-" + "1" * 64 + ".sig"]
        kept = [
            await lab.image("p/a", name, subject=subject, artifactType=f"example/{number}")
            for number, name in enumerate(names)
        ]
        shared = await sign(lab, lost, [b"both"])
        assert await sign(lab, left, [b"both"]) == shared
        await lab.content.delete_manifest("p/a", lost)
        assert (await clean(lab)).manifests == 0
        assert set(await lab.content.tags("p/a", 10, None)) >= {*names, cosign_tag(left, ".sig")}
        for digest in (*kept, shared):
            await lab.content.manifest("p/a", digest)

    run(body)


def test_a_part_of_an_index_is_not_deleted_alone(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        child = await lab.image("p/a", "arm")
        whole = await lab.index("p/a", "all", [child])
        assert "part of an index" in await refused(lab.content.delete_manifest("p/a", child))
        # A tag of it is not the part itself.
        await lab.content.delete_manifest("p/a", "arm")
        assert (
            json.loads((await lab.content.manifest("p/a", "all")).payload)["manifests"][0]["digest"] == child
        )
        await lab.content.manifest("p/a", child)
        await lab.content.delete_manifest("p/a", whole)
        await lab.content.delete_manifest("p/a", child)

    run(body)


def test_an_immutable_tag_of_cosign_takes_more_signatures(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        image = await lab.image("p/a", "v1")
        await sign(lab, image, [b"one"])
        glob = {"kind": "doublestar", "pattern": "**"}
        rule = {
            "tag_selectors": [{**glob, "decoration": "matches"}],
            "scope_selectors": {"repository": [{**glob, "decoration": "repoMatches"}]},
        }
        await lab.db.write(lambda c: immutability.create(c, project, rule))
        await sign(lab, image, [b"one", b"two"])
        assert "immutable" in await refused(sign(lab, image, [b"two"]))
        assert "immutable" in await refused(lab.image("p/a", "v1"))
        assert "immutable" in await refused(lab.content.delete_manifest("p/a", cosign_tag(image, ".sig")))

    run(body)


def test_names_of_what_something_belongs_to(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        child = await lab.image("p/a", "arm")
        await lab.index("p/a", "all", [child])
        signature = await sign(lab, child, [b"one"])
        of_signature = await sign(lab, signature, [b"two"])
        repository = await lab.content.repositories.get("p/a")

        async def names(digest: str) -> set[str]:
            return await lab.db.read(lambda c: names_of(c, repository.id, [digest]))

        assert await names(of_signature) == {"arm", "all"}
        assert await names("sha256:" + "0" * 64) == set()

    run(body)


async def note(lab: Lab, subject: str, kind: str) -> str:
    """Attach something by its `subject`; returns its digest."""
    described = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    return await lab.image("p/a", subject=described, artifactType=kind)


async def list_referrers(lab: Lab, subject: str, digests: list[str]) -> str:
    """Push the list that stands in for the referrers API, as `notation sign` does; returns its digest."""
    items = [
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "artifactType": "example/x"}
        for digest in digests
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items}
    found = await lab.content.put_manifest(
        "p/a", subject.replace(":", "-"), json.dumps(document).encode(), OCI_INDEX
    )
    return found[0]


def test_a_list_that_stands_in_for_the_referrers_api(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        image = await lab.image("p/a", "v1")
        signatures = [await note(lab, image, "example/x")]
        await list_referrers(lab, image, signatures)
        signatures.append(await note(lab, image, "example/x"))
        listed = await list_referrers(lab, image, signatures)
        # It is none of those that it lists, no artifact of its own, and no name of anything.
        assert set(await referrers(lab, image)) == set(signatures)
        assert await lab.count("p/a") == 1
        repository = await lab.content.repositories.get("p/a")
        assert await lab.db.read(lambda c: names_of(c, repository.id, [listed])) == {"v1"}
        # The first list is nobody's. The other keeps none from being deleted, and goes with its artifact.
        assert (await clean(lab)).manifests == 1
        await lab.content.delete_manifest("p/a", signatures[0])
        await lab.content.delete_manifest("p/a", image)
        assert (await clean(lab)).manifests == 2
        assert await lab.content.tags("p/a", 10, None) == []

    run(body)


def test_an_index_under_a_name_of_that_form_is_an_image(run: Run) -> None:
    """As builds name what they made by the digest of what they made it from."""

    async def body(lab: Lab) -> None:
        await lab.project()
        child = await lab.image("p/a")
        whole = await lab.index("p/a", "sha256-" + "0" * 64, [child])
        assert (await clean(lab)).manifests == 0
        assert (await lab.content.manifest("p/a", whole)).digest == whole
        assert "part of an index" in await refused(lab.content.delete_manifest("p/a", child))

    run(body)


def test_an_immutable_list_of_referrers_grows(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        image = await lab.image("p/a", "v1")
        one, two = await note(lab, image, "example/x"), await note(lab, image, "example/y")
        await list_referrers(lab, image, [one])
        glob = {"kind": "doublestar", "pattern": "**"}
        rule = {
            "tag_selectors": [{**glob, "decoration": "matches"}],
            "scope_selectors": {"repository": [{**glob, "decoration": "repoMatches"}]},
        }
        await lab.db.write(lambda c: immutability.create(c, project, rule))
        await list_referrers(lab, image, [one, two])
        assert "immutable" in await refused(list_referrers(lab, image, [two]))

    run(body)
