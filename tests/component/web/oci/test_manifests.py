"""The registry's root, an empty repository, and manifests that have to be refused."""

from __future__ import annotations

import os

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import OCI_INDEX, OCI_MANIFEST, Client, Repo, assert_error
from tests.support.oci.content import TYPE_A, Content, encode
from tests.support.registry import Registry


@pytest.fixture(scope="module")
def repo(client: Client, project: str) -> Repo:
    return client.repo(f"{project}/manifests")


def test_ping(registry: Registry, client: Client) -> None:
    assert client.request("GET", "/v2/").status_code == 200
    anonymous = httpx.get(registry.url + "/v2/")
    assert_error(anonymous, 401, "UNAUTHORIZED")
    assert anonymous.headers["WWW-Authenticate"].startswith('Bearer realm="')


def test_empty_tag_list(client: Client, project: str) -> None:
    answer = client.repo(f"{project}/never-pushed").tags()
    if answer.status_code == 200:
        assert answer.json()["tags"] in ([], None)
    else:
        assert_error(answer, 404, "NAME_UNKNOWN")


def test_empty_referrers(repo: Repo) -> None:
    answer = repo.referrers(digest_of(os.urandom(16)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert answer.json() | {"annotations": None} == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
        "annotations": None,
    }


def test_missing_manifest_by_digest(repo: Repo) -> None:
    assert_error(repo.get_manifest(digest_of(os.urandom(16))), 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN")


def test_missing_manifest_by_tag(repo: Repo) -> None:
    assert_error(repo.get_manifest("missing-" + os.urandom(8).hex()), 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN")


def test_put_manifest_with_malformed_digest(repo: Repo) -> None:
    made = Content()
    made.image(layers=1)
    for digest, data in made.blobs.items():
        assert repo.push_blob(data, digest).status_code == 201
    assert_error(
        repo.put_manifest("sha256:baddigeststring", made.manifests[0].data, OCI_MANIFEST),
        400,
        "DIGEST_INVALID",
    )
    assert repo.head_manifest(made.manifests[0].digest).status_code == 404
    assert_error(repo.delete_manifest(made.manifests[0].digest), 404)
    for digest in made.blobs:
        assert repo.delete_blob(digest).status_code == 202


def test_get_manifest_with_malformed_digest(repo: Repo) -> None:
    assert_error(repo.get_manifest("sha256:baddigeststring"), (400, 404))


def test_sparse_image_is_refused(repo: Repo) -> None:
    """The spec lets a registry refuse a manifest whose blobs are not there; this one must."""
    made = Content()
    made.image()
    absent = next(iter(made.blobs))
    for digest, data in made.blobs.items():
        if digest != absent:
            assert repo.push_blob(data, digest).status_code == 201
    manifest = made.manifests[0]
    assert_error(
        repo.put_manifest("sparse", manifest.data, OCI_MANIFEST), (400, 404), "MANIFEST_BLOB_UNKNOWN"
    )
    assert repo.head_manifest("sparse").status_code == 404
    # With the missing blob in place the same bytes are taken.
    assert repo.push_blob(made.blobs[absent], absent).status_code == 201
    assert repo.put_manifest("sparse", manifest.data, OCI_MANIFEST).status_code == 201


def test_sparse_index_is_refused(repo: Repo) -> None:
    absent = {"mediaType": OCI_MANIFEST, "digest": digest_of(os.urandom(16)), "size": 1024}
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [absent]})
    assert_error(
        repo.put_manifest("sparse-index", index, OCI_INDEX),
        (400, 404),
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_UNKNOWN",
    )


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", OCI_MANIFEST),
        (b"{", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b'"text"', OCI_INDEX),
        (encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}), OCI_MANIFEST),
        (encode({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": 3}), OCI_MANIFEST),
        (encode({"schemaVersion": 2, "manifests": [{"digest": "sha256:zz"}]}), OCI_INDEX),
    ],
    ids=["empty", "truncated", "array", "string", "type differs", "bad descriptors", "bad digest"],
)
def test_malformed_manifest_is_refused(repo: Repo, data: bytes, media_type: str) -> None:
    assert_error(repo.put_manifest("malformed", data, media_type), 400)
    assert repo.head_manifest("malformed").status_code == 404


def test_nul_in_a_media_type_is_refused(repo: Repo) -> None:
    """On every database: PostgreSQL cannot store it, and no peer may take what another cannot."""
    data = encode(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "artifactType": "application/x\0y"}
    )
    assert_error(repo.put_manifest("nul", data, OCI_INDEX), 400, "MANIFEST_INVALID")
    assert repo.head_manifest("nul").status_code == 404


def test_oversized_manifest_is_refused(repo: Repo) -> None:
    big = Content()
    big.index([], annotations={"big": "x" * (32 << 20)})
    assert_error(repo.put_manifest("oversized", big.manifests[0].data, OCI_INDEX), 413)
    assert repo.head_manifest("oversized").status_code == 404


def test_content_type_parameters_are_ignored(repo: Repo) -> None:
    made = Content()
    made.index([], annotations={"unique": os.urandom(6).hex()})
    assert (
        repo.put_manifest("with-charset", made.manifests[0].data, OCI_INDEX + "; charset=utf-8").status_code
        == 201
    )
    assert repo.get_manifest("with-charset").headers["Content-Type"] == OCI_INDEX


def test_referrers_tag_fallback(repo: Repo) -> None:
    """A 1.0 client keeps the list itself, as an index under the tag `sha256-<hex>`."""
    made = Content()
    subject = made.image("fallback-subject")
    made.artifact(TYPE_A, subject=subject)
    for digest, data in made.blobs.items():
        assert repo.push_blob(data, digest).status_code == 201
    for manifest in made.manifests:
        assert repo.put_manifest(manifest.digest, manifest.data, manifest.media_type).status_code == 201
    fallback = str(subject["digest"]).replace(":", "-")
    assert_error(repo.get_manifest(fallback), 404, "MANIFEST_UNKNOWN")
    listing = encode(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": made.referrers[subject["digest"]]}
    )
    assert repo.put_manifest(fallback, listing, OCI_INDEX).status_code == 201
    assert repo.get_manifest(fallback).content == listing
    # The client's own list changes nothing in the registry's.
    assert repo.referrers(subject["digest"]).json()["manifests"] == made.referrers[subject["digest"]]
    assert repo.delete_manifest(fallback).status_code == 202


def test_many_tag_parameters(repo: Repo) -> None:
    """The spec asks for at least ten tags in one push by digest."""
    made = Content()
    made.index([], annotations={"unique": os.urandom(6).hex()})
    manifest = made.manifests[0]
    tags = tuple(f"many-{number}" for number in range(10))
    put = repo.put_manifest(manifest.digest, manifest.data, OCI_INDEX, tags)
    assert put.status_code == 201, put.text
    named = {tag.strip() for line in put.headers.get_list("OCI-Tag") for tag in line.split(",")}
    assert named == set(tags)
    for tag in tags:
        assert repo.head_manifest(tag).headers["Docker-Content-Digest"] == manifest.digest


@pytest.mark.parametrize("rest", ["/Upper", "//b", "/-y", "/y-", "/a..b", "/y" + "y" * 300])
def test_invalid_name_is_refused(client: Client, project: str, rest: str) -> None:
    answer = client.request("GET", f"/v2/{project}{rest}/tags/list")
    assert_error(answer, (400, 404), "NAME_INVALID", "NAME_UNKNOWN")
