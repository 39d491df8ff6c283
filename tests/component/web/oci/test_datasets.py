"""Every kind of content the official suite pushes: put it, find it, read it back, delete it."""

from __future__ import annotations

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import Client, Repo, assert_error
from tests.support.oci.content import DATASETS, Content, Descriptor, Manifest

BAD = "bad-digest-image"
ALL = list(DATASETS)
GOOD = [name for name in ALL if name != BAD]
WITH_BLOBS = [name for name, content in DATASETS.items() if content.blobs]
WITH_TAGS = [name for name, content in DATASETS.items() if content.tags]
TAG_PUSHED = [name for name in WITH_TAGS if not name.startswith("tag-param")]
TAG_PARAM = [name for name in WITH_TAGS if name.startswith("tag-param")]
WITH_SUBJECT = [name for name, content in DATASETS.items() if content.referrers]


class Pushed:
    """A dataset put into a repository of its own, with each answer kept."""

    def __init__(self, repo: Repo, content: Content, tag_param: bool) -> None:
        self.repo = repo
        self.content = content
        self.blobs = {digest: repo.push_blob(data, digest) for digest, data in content.blobs.items()}
        self.by_digest: list[tuple[Manifest, httpx.Response]] = []
        self.by_tag: dict[str, httpx.Response] = {}
        for manifest in content.manifests:
            tags = (
                tuple(tag for tag, tagged in content.tags.items() if tagged is manifest) if tag_param else ()
            )
            put = repo.put_manifest(manifest.digest, manifest.data, manifest.media_type, tags)
            self.by_digest.append((manifest, put))
        if not tag_param:
            for tag, manifest in content.tags.items():
                self.by_tag[tag] = repo.put_manifest(tag, manifest.data, manifest.media_type)


def load(client: Client, project: str, name: str, suffix: str = "") -> Pushed:
    content = DATASETS[name]
    return Pushed(client.repo(f"{project}/{name}{suffix}"), content, name in TAG_PARAM)


@pytest.fixture(scope="module")
def cache(client: Client) -> dict[str, Pushed]:
    """Pushed by this client: the tests go on to another database, and then come back or not."""
    return {}


@pytest.fixture
def pushed(request: pytest.FixtureRequest, client: Client, project: str, cache: dict[str, Pushed]) -> Pushed:
    """The dataset named by the test's parameter, pushed once for all the tests that only read."""
    name: str = request.param
    if name not in cache:
        cache[name] = load(client, project, name)
    return cache[name]


@pytest.fixture
def doomed(request: pytest.FixtureRequest, client: Client, project: str) -> Pushed:
    """The same in a second repository, for a test that deletes."""
    return load(client, project, request.param, "-" + request.node.originalname.replace("_", "-"))


def over(names: list[str], fixture: str = "pushed") -> pytest.MarkDecorator:
    return pytest.mark.parametrize(fixture, names, indirect=True, ids=names)


def check_subject(manifest: Manifest, put: httpx.Response, content: Content) -> None:
    for subject, listed in content.referrers.items():
        if manifest.digest in {entry["digest"] for entry in listed}:
            assert put.headers.get("OCI-Subject") == subject


def check_manifest(answer: httpx.Response, manifest: Manifest, head: bool = False) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == manifest.media_type
    assert answer.headers["Content-Length"] == str(len(manifest.data))
    assert answer.content == (b"" if head else manifest.data)


@over(WITH_BLOBS)
def test_push_blobs(pushed: Pushed) -> None:
    for digest, put in pushed.blobs.items():
        assert put.status_code == 201, put.text
        assert put.headers["Docker-Content-Digest"] == digest
        assert pushed.repo.client.follow(put).content == pushed.content.blobs[digest]


@over(GOOD)
def test_push_manifest_by_digest(pushed: Pushed) -> None:
    for manifest, put in pushed.by_digest:
        assert put.status_code == 201, put.text
        assert put.headers["Docker-Content-Digest"] == manifest.digest
        check_subject(manifest, put, pushed.content)
        check_manifest(pushed.repo.client.follow(put), manifest)


@over([BAD])
def test_push_manifest_with_wrong_digest(pushed: Pushed) -> None:
    manifest, put = pushed.by_digest[0]
    assert_error(put, 400, "DIGEST_INVALID")
    assert pushed.repo.head_manifest(manifest.digest).status_code == 404
    assert pushed.repo.head_manifest(digest_of(manifest.data)).status_code == 404


@over(TAG_PUSHED)
def test_push_manifest_by_tag(pushed: Pushed) -> None:
    for tag, put in pushed.by_tag.items():
        manifest = pushed.content.tags[tag]
        assert put.status_code == 201, put.text
        assert put.headers["Docker-Content-Digest"] == manifest.digest
        check_subject(manifest, put, pushed.content)
        check_manifest(pushed.repo.client.follow(put), manifest)


@over(TAG_PARAM)
def test_push_manifest_with_tag_parameters(pushed: Pushed) -> None:
    for manifest, put in pushed.by_digest:
        assert put.status_code == 201, put.text
        named = {tag.strip() for line in put.headers.get_list("OCI-Tag") for tag in line.split(",")}
        assert named == {tag for tag, tagged in pushed.content.tags.items() if tagged is manifest}


@over(ALL)
def test_tag_list(pushed: Pushed) -> None:
    if not pushed.content.tags:
        # A repository that holds no tag may be empty or not there at all.
        answer = pushed.repo.tags()
        assert answer.status_code == 404 or answer.json()["tags"] in ([], None), answer.text
        return
    names = pushed.repo.tag_names()
    assert names == sorted(pushed.content.tags)
    middle = names[: max(1, len(names) // 2)]
    assert pushed.repo.tag_names(last=middle[-1]) == names[len(middle) :]


@over(WITH_BLOBS)
def test_head_blobs(pushed: Pushed) -> None:
    for digest, data in pushed.content.blobs.items():
        answer = pushed.repo.head_blob(digest)
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.content == b""


@over(GOOD)
def test_head_manifest_by_digest(pushed: Pushed) -> None:
    for manifest in pushed.content.manifests:
        answer = pushed.repo.head_manifest(manifest.digest)
        check_manifest(answer, manifest, head=True)
        assert answer.headers["Docker-Content-Digest"] == manifest.digest


@over(WITH_TAGS)
def test_head_manifest_by_tag(pushed: Pushed) -> None:
    for tag, manifest in pushed.content.tags.items():
        answer = pushed.repo.head_manifest(tag)
        check_manifest(answer, manifest, head=True)
        assert answer.headers["Docker-Content-Digest"] == manifest.digest


@over(WITH_BLOBS)
def test_pull_blobs(pushed: Pushed) -> None:
    for digest, data in pushed.content.blobs.items():
        answer = pushed.repo.get_blob(digest)
        assert answer.status_code == 200
        assert answer.content == data
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Docker-Content-Digest"] == digest


@over(GOOD)
def test_pull_manifest_by_digest(pushed: Pushed) -> None:
    for manifest in pushed.content.manifests:
        answer = pushed.repo.get_manifest(manifest.digest)
        check_manifest(answer, manifest)
        assert answer.headers["Docker-Content-Digest"] == manifest.digest


@over(WITH_TAGS)
def test_pull_manifest_by_tag(pushed: Pushed) -> None:
    for tag, manifest in pushed.content.tags.items():
        answer = pushed.repo.get_manifest(tag)
        check_manifest(answer, manifest)
        assert answer.headers["Docker-Content-Digest"] == manifest.digest


def by_digest(entries: list[Descriptor]) -> list[Descriptor]:
    return sorted(entries, key=lambda entry: str(entry["digest"]))


@over(WITH_SUBJECT)
def test_referrers(pushed: Pushed) -> None:
    for subject, expected in pushed.content.referrers.items():
        answer = pushed.repo.referrers(subject)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
        body = answer.json()
        assert body["schemaVersion"] == 2
        assert body["mediaType"] == "application/vnd.oci.image.index.v1+json"
        assert by_digest(body["manifests"]) == by_digest(expected)
        for kind in {entry["artifactType"] for entry in expected}:
            filtered = pushed.repo.referrers(subject, kind)
            assert filtered.status_code == 200, filtered.text
            applied = filtered.headers.get("OCI-Filters-Applied", "")
            assert "artifactType" in [part.strip() for part in applied.split(",")]
            assert by_digest(filtered.json()["manifests"]) == by_digest(
                [entry for entry in expected if entry["artifactType"] == kind]
            )


@over(WITH_TAGS, "doomed")
def test_delete_tag(doomed: Pushed) -> None:
    for tag, manifest in doomed.content.tags.items():
        assert doomed.repo.delete_manifest(tag).status_code == 202
        assert_error(doomed.repo.get_manifest(tag), 404, "MANIFEST_UNKNOWN")
        assert doomed.repo.head_manifest(tag).status_code == 404
        # Only the name goes: what it named is still there by digest.
        assert doomed.repo.head_manifest(manifest.digest).status_code == 200


@over(GOOD, "doomed")
def test_delete_manifest(doomed: Pushed) -> None:
    # Parents first: an index before its members.
    for manifest in reversed(doomed.content.manifests):
        assert doomed.repo.delete_manifest(manifest.digest).status_code == 202
        assert doomed.repo.head_manifest(manifest.digest).status_code == 404
        assert_error(doomed.repo.delete_manifest(manifest.digest), 404)
    for tag in doomed.content.tags:
        assert doomed.repo.head_manifest(tag).status_code == 404
    for subject in doomed.content.referrers:
        assert doomed.repo.referrers(subject).json()["manifests"] == []


@over([BAD], "doomed")
def test_delete_refused_manifest(doomed: Pushed) -> None:
    assert_error(doomed.repo.delete_manifest(doomed.content.manifests[0].digest), 404)


@over(WITH_BLOBS, "doomed")
def test_delete_blob(doomed: Pushed) -> None:
    for manifest in reversed(doomed.content.manifests):
        doomed.repo.delete_manifest(manifest.digest)
    for digest in doomed.content.blobs:
        assert doomed.repo.delete_blob(digest).status_code == 202
        assert doomed.repo.head_blob(digest).status_code == 404
        assert_error(doomed.repo.get_blob(digest), 404, "BLOB_UNKNOWN")
