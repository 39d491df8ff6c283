"""The four workflows of the 1.1.1 suite: pull, push, content discovery, content management.

Each class works through one workflow in the order of its methods, in a repository of its own.
Where that suite lets a registry leave a feature out, Seawall must have it, so the test is stricter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import OCI_INDEX, OCI_MANIFEST, Client, Repo, Stream, assert_error
from tests.support.oci.content import TYPE_A, TYPE_B, Content, Descriptor, Manifest


def push_blobs(repo: Repo, content: Content) -> None:
    for digest, data in content.blobs.items():
        assert repo.push_blob(data, digest).status_code == 201


def push_manifest(repo: Repo, reference: str, manifest: Manifest) -> None:
    put = repo.put_manifest(reference, manifest.data, manifest.media_type)
    assert put.status_code == 201, put.text
    assert put.headers["Location"]


def tear_down(repo: Repo, content: Content) -> None:
    """Delete manifests, then blobs, and see that each is gone."""
    for manifest in reversed(content.manifests):
        assert repo.delete_manifest(manifest.digest).status_code == 202
        assert_error(repo.get_manifest(manifest.digest), 404, "MANIFEST_UNKNOWN")
    for digest in content.blobs:
        assert repo.delete_blob(digest).status_code == 202
        assert_error(repo.get_blob(digest), 404, "BLOB_UNKNOWN")


@dataclass
class Bench:
    """A repository and what a workflow put into it."""

    repo: Repo
    content: Content = field(default_factory=Content)


def two_images() -> Content:
    made = Content()
    made.image("tagtest0", layers=1)
    made.image(layers=1)
    return made


@pytest.fixture(scope="class")
def bench(client: Client, project: str, request: pytest.FixtureRequest) -> Bench:
    return Bench(client.repo(f"{project}/{request.cls.__name__.lower()}"))


@pytest.fixture(scope="class")
def pull(bench: Bench) -> Bench:
    bench.content = two_images()
    push_blobs(bench.repo, bench.content)
    for manifest in bench.content.manifests:
        push_manifest(bench.repo, manifest.digest, manifest)
    for tag, manifest in bench.content.tags.items():
        push_manifest(bench.repo, tag, manifest)
    return bench


class TestPull:
    def test_setup_blobs(self, pull: Bench) -> None:
        for digest in pull.content.blobs:
            assert pull.repo.head_blob(digest).status_code == 200

    def test_setup_manifests(self, pull: Bench) -> None:
        assert pull.repo.tag_names() == ["tagtest0"]

    def test_head_missing_blob(self, pull: Bench) -> None:
        assert_error(pull.repo.head_blob(digest_of(os.urandom(9))), 404)

    def test_head_blob(self, pull: Bench) -> None:
        for digest, data in pull.content.blobs.items():
            answer = pull.repo.head_blob(digest)
            assert answer.status_code == 200
            assert answer.headers["Docker-Content-Digest"] == digest
            assert answer.headers["Content-Length"] == str(len(data))

    def test_get_missing_blob(self, pull: Bench) -> None:
        assert_error(pull.repo.get_blob(digest_of(os.urandom(9))), 404, "BLOB_UNKNOWN")

    def test_get_blob(self, pull: Bench) -> None:
        for digest, data in pull.content.blobs.items():
            answer = pull.repo.get_blob(digest)
            assert answer.status_code == 200
            assert answer.content == data

    def test_head_missing_manifest(self, pull: Bench) -> None:
        assert_error(pull.repo.head_manifest(".INVALID_MANIFEST_NAME"), 404)
        assert_error(pull.repo.head_manifest("not-there"), 404)

    @pytest.mark.parametrize("number", [0, 1])
    def test_head_manifest_by_digest(self, pull: Bench, number: int) -> None:
        manifest = pull.content.manifests[number]
        answer = pull.repo.head_manifest(manifest.digest, OCI_MANIFEST)
        assert answer.status_code == 200
        assert answer.headers["Docker-Content-Digest"] == manifest.digest

    def test_head_manifest_by_tag(self, pull: Bench) -> None:
        answer = pull.repo.head_manifest("tagtest0", OCI_MANIFEST)
        assert answer.status_code == 200
        assert answer.headers["Docker-Content-Digest"] == pull.content.manifests[0].digest

    def test_get_missing_manifest(self, pull: Bench) -> None:
        assert_error(pull.repo.get_manifest(".INVALID_MANIFEST_NAME"), 404)
        assert_error(pull.repo.get_manifest("not-there"), 404, "MANIFEST_UNKNOWN")

    @pytest.mark.parametrize("number", [0, 1])
    def test_get_manifest_by_digest(self, pull: Bench, number: int) -> None:
        manifest = pull.content.manifests[number]
        answer = pull.repo.get_manifest(manifest.digest, OCI_MANIFEST)
        assert answer.status_code == 200
        assert answer.content == manifest.data

    def test_get_manifest_by_tag(self, pull: Bench) -> None:
        answer = pull.repo.get_manifest("tagtest0", OCI_MANIFEST)
        assert answer.status_code == 200
        assert answer.content == pull.content.manifests[0].data

    def test_error_body(self, pull: Bench) -> None:
        # A GET with a body that means nothing, and a digest that is none.
        answer = pull.repo.client.request(
            "GET",
            f"{pull.repo.base}/manifests/sha256:totallywrong",
            headers={"Content-Type": OCI_MANIFEST},
            content=b"blablabla",
        )
        assert_error(answer, (400, 404))

    def test_teardown(self, pull: Bench) -> None:
        tear_down(pull.repo, pull.content)


class TestPush:
    def test_streamed(self, bench: Bench) -> None:
        data = os.urandom(5000)
        digest = digest_of(data)
        started = bench.repo.start()
        assert started.headers["Location"]
        patched = bench.repo.patch(started.headers["Location"], Stream(data))
        assert patched.status_code == 202
        put = bench.repo.finish(patched.headers["Location"], digest)
        assert put.status_code == 201
        assert put.headers["Location"]
        assert bench.repo.get_blob(digest).content == data

    def test_get_missing_blob(self, bench: Bench) -> None:
        assert_error(bench.repo.get_blob(digest_of(os.urandom(9))), 404, "BLOB_UNKNOWN", "NAME_UNKNOWN")

    def test_single_post(self, bench: Bench) -> None:
        data = os.urandom(400)
        digest = digest_of(data)
        posted = bench.repo.post_blob(data, digest)
        assert posted.headers["Location"]
        assert posted.status_code in (201, 202)
        assert bench.repo.get_blob(digest).status_code == (200 if posted.status_code == 201 else 404)

    def test_post_then_put(self, bench: Bench) -> None:
        # A small config, then a layer, each in its own session.
        locations = set()
        for data in (os.urandom(300), os.urandom(70_000)):
            started = bench.repo.start()
            assert started.status_code == 202
            locations.add(started.headers["Location"])
            put = bench.repo.finish(started.headers["Location"], digest_of(data), data)
            assert put.status_code == 201
            assert put.headers["Location"]
            assert bench.repo.get_blob(digest_of(data)).content == data
        assert len(locations) == 2

    def test_first_chunk_out_of_order(self, bench: Bench) -> None:
        started = bench.repo.start()
        assert_error(bench.repo.patch(started.headers["Location"], b"x" * 2000, "2000-3999"), 416)

    def test_chunked_and_resumed(self, bench: Bench) -> None:
        data = os.urandom(4000)
        started = bench.repo.start()
        stale = started.headers["Location"]
        first = bench.repo.patch(stale, data[:2000], "0-1999")
        assert first.status_code == 202
        assert first.headers["Range"] == "0-1999"
        # The same chunk again, at the location that the first POST gave.
        assert_error(bench.repo.patch(stale, data[:2000], "0-1999"), 416)
        status = bench.repo.client.request("GET", stale)
        assert status.status_code == 204
        assert status.headers["Range"] == "0-1999"
        second = bench.repo.patch(status.headers["Location"], data[2000:], "2000-3999")
        assert second.status_code == 202
        assert second.headers["Range"] == "0-3999"
        put = bench.repo.finish(second.headers["Location"], digest_of(data))
        assert put.status_code == 201
        assert put.headers["Location"]
        assert bench.repo.get_blob(digest_of(data)).content == data

    @pytest.fixture
    def crossing(self, bench: Bench) -> Repo:
        return bench.repo.client.repo(bench.repo.name + "-mounted")

    def test_mount_without_from_of_a_missing_blob(self, crossing: Repo) -> None:
        answer = crossing.mount(digest_of(os.urandom(9)))
        assert answer.status_code == 202
        assert answer.headers["Location"]

    def test_mount(self, bench: Bench, crossing: Repo) -> None:
        data = os.urandom(600)
        assert bench.repo.push_blob(data).status_code == 201
        answer = crossing.mount(digest_of(data), bench.repo.name)
        assert answer.status_code == 201
        assert answer.headers["Location"].endswith(f"/v2/{crossing.name}/blobs/{digest_of(data)}")
        assert crossing.client.follow(answer).content == data

    def test_mount_of_a_missing_blob(self, bench: Bench, crossing: Repo) -> None:
        answer = crossing.mount(digest_of(os.urandom(9)), bench.repo.name)
        assert answer.status_code == 202
        assert f"/v2/{crossing.name}/blobs/uploads/" in answer.headers["Location"]

    def test_mount_without_from(self, bench: Bench, crossing: Repo) -> None:
        data = os.urandom(600)
        assert bench.repo.push_blob(data).status_code == 201
        answer = crossing.mount(digest_of(data))
        # 201 with automatic discovery, 202 without; the blob must be there exactly when it says so.
        assert answer.status_code in (201, 202)
        assert crossing.head_blob(digest_of(data)).status_code == (200 if answer.status_code == 201 else 404)

    def test_get_missing_manifest(self, bench: Bench) -> None:
        assert_error(bench.repo.get_manifest("not-there"), 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN")

    def test_manifest(self, bench: Bench) -> None:
        made = Content()
        made.image()
        push_blobs(bench.repo, made)
        for number in range(4):
            push_manifest(bench.repo, f"test{number}", made.manifests[0])
        answer = bench.repo.get_manifest(made.manifests[0].digest, OCI_MANIFEST)
        assert answer.status_code == 200
        assert answer.content == made.manifests[0].data

    def test_manifest_without_layers(self, bench: Bench) -> None:
        made = Content()
        made.image("emptylayer", layers=0)
        push_blobs(bench.repo, made)
        push_manifest(bench.repo, "emptylayer", made.manifests[0])

    def test_teardown(self, bench: Bench) -> None:
        made = Content()
        made.image("gone")
        push_blobs(bench.repo, made)
        push_manifest(bench.repo, "gone", made.manifests[0])
        tear_down(bench.repo, made)
        assert "gone" not in bench.repo.tag_names()


TAGS = [f"test{number}" for number in range(8)]


@dataclass
class Discovery(Bench):
    subject: Descriptor = field(default_factory=dict)
    absent: Descriptor = field(default_factory=dict)
    subject_headers: dict[str, str | None] = field(default_factory=dict)


@pytest.fixture(scope="class")
def found(bench: Bench) -> Discovery:
    """Eight tags of one image, and referrers pushed before and after their subject."""
    found = Discovery(bench.repo)
    tagged = Content()
    tagged.image()
    push_blobs(found.repo, tagged)
    for tag in reversed(TAGS):
        push_manifest(found.repo, tag, tagged.manifests[0])
    subject = Content()
    found.subject = subject.image()
    found.absent = {"mediaType": OCI_MANIFEST, "digest": digest_of(os.urandom(9)), "size": 345}
    made = found.content
    config_typed = made.blob(os.urandom(50), TYPE_A)
    made.manifest(config_typed, [], subject=found.subject, annotations={"test": "config type"})
    made.artifact(TYPE_B, subject=found.subject)
    made.index([], artifact_type=TYPE_B, subject=found.subject, annotations={"test": "index"})
    made.artifact(TYPE_A, subject=found.absent)
    early = len(made.manifests)
    late_typed = made.blob(os.urandom(50), TYPE_A)
    made.manifest(late_typed, [], subject=found.subject, annotations={"test": "after the subject"})
    made.artifact(TYPE_B, subject=found.subject)
    push_blobs(found.repo, made)
    for number, manifest in enumerate(made.manifests):
        if number == early:
            push_blobs(found.repo, subject)
            push_manifest(found.repo, subject.manifests[0].digest, subject.manifests[0])
        put = found.repo.put_manifest(manifest.digest, manifest.data, manifest.media_type)
        assert put.status_code == 201, put.text
        found.subject_headers[manifest.digest] = put.headers.get("OCI-Subject")
    return found


class TestDiscovery:
    def test_setup_references(self, found: Discovery) -> None:
        for subject, listed in found.content.referrers.items():
            for entry in listed:
                assert found.subject_headers[entry["digest"]] == subject

    def test_tags(self, found: Discovery) -> None:
        assert found.repo.tag_names() == TAGS

    def test_tags_n(self, found: Discovery) -> None:
        answer = found.repo.tags(n="4")
        assert answer.json()["tags"] == TAGS[:4]
        # Link leads through the rest, page by page.
        seen = answer.json()["tags"]
        for _ in TAGS:
            following = answer.links.get("next")
            if following is None:
                break
            answer = found.repo.client.request("GET", following["url"])
            seen += answer.json()["tags"]
        assert seen == TAGS

    def test_tags_n_zero(self, found: Discovery) -> None:
        answer = found.repo.tags(n="0")
        assert answer.status_code == 200
        assert answer.json()["tags"] == []
        assert "Link" not in answer.headers

    @pytest.mark.parametrize("n", ["-1", "x", "1.5"])
    def test_tags_bad_n(self, found: Discovery, n: str) -> None:
        assert_error(found.repo.tags(n=n), 400)

    def test_tags_last(self, found: Discovery) -> None:
        assert found.repo.tag_names(n="4", last=TAGS[3]) == TAGS[4:]
        assert found.repo.tag_names(last=TAGS[5]) == TAGS[6:]
        assert found.repo.tag_names(n="2", last=TAGS[-1]) == []
        # `last` need not be a tag that is there.
        assert found.repo.tag_names(n="1", last=TAGS[2] + "0") == [TAGS[3]]

    def test_referrers_of_nothing(self, found: Discovery) -> None:
        answer = found.repo.referrers(digest_of(os.urandom(9)))
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == OCI_INDEX
        assert answer.json()["manifests"] == []

    def listed(self, found: Discovery, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        answer = found.repo.referrers(digest, artifact_type)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == OCI_INDEX
        if artifact_type:
            assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        else:
            assert "OCI-Filters-Applied" not in answer.headers
        return sorted(answer.json()["manifests"], key=lambda entry: str(entry["digest"]))

    def expected(self, found: Discovery, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        entries = found.content.referrers[digest]
        wanted = [entry for entry in entries if artifact_type in (None, entry["artifactType"])]
        return sorted(wanted, key=lambda entry: str(entry["digest"]))

    def test_referrers(self, found: Discovery) -> None:
        digest = found.subject["digest"]
        listed = self.listed(found, digest)
        assert len(listed) == 5
        assert listed == self.expected(found, digest)

    def test_referrers_filtered(self, found: Discovery) -> None:
        digest = found.subject["digest"]
        assert len(self.listed(found, digest, TYPE_A)) == 2
        assert self.listed(found, digest, TYPE_A) == self.expected(found, digest, TYPE_A)
        assert self.listed(found, digest, TYPE_B) == self.expected(found, digest, TYPE_B)
        assert self.listed(found, digest, "application/vnd.nobody.has.this") == []

    def test_referrers_of_a_missing_manifest(self, found: Discovery) -> None:
        digest = found.absent["digest"]
        assert self.listed(found, digest) == self.expected(found, digest)
        assert len(self.listed(found, digest)) == 1

    def test_teardown(self, found: Discovery) -> None:
        for manifest in found.content.manifests:
            assert found.repo.delete_manifest(manifest.digest).status_code == 202
        assert self.listed(found, found.subject["digest"]) == []
        assert self.listed(found, found.absent["digest"]) == []
        tagged = found.repo.head_manifest(TAGS[0]).headers["Docker-Content-Digest"]
        for reference in (tagged, found.subject["digest"]):
            assert found.repo.delete_manifest(reference).status_code == 202
        for digest in found.content.blobs:
            assert found.repo.delete_blob(digest).status_code == 202


@pytest.fixture(scope="class")
def managed(bench: Bench) -> Bench:
    bench.content.image("tagtest0")
    bench.content.image("stays")
    push_blobs(bench.repo, bench.content)
    for tag, manifest in bench.content.tags.items():
        push_manifest(bench.repo, tag, manifest)
    return bench


class TestManagement:
    def test_setup(self, managed: Bench) -> None:
        assert managed.repo.tag_names() == ["stays", "tagtest0"]

    def test_delete_tag(self, managed: Bench) -> None:
        assert managed.repo.delete_manifest("tagtest0").status_code == 202
        assert_error(managed.repo.get_manifest("tagtest0"), 404, "MANIFEST_UNKNOWN")

    def test_delete_manifest(self, managed: Bench) -> None:
        assert managed.repo.delete_manifest(managed.content.manifests[0].digest).status_code == 202

    def test_get_deleted_manifest(self, managed: Bench) -> None:
        assert_error(managed.repo.get_manifest(managed.content.manifests[0].digest), 404, "MANIFEST_UNKNOWN")

    def test_tags_after_delete(self, managed: Bench) -> None:
        assert managed.repo.tag_names() == ["stays"]
        # Deleting by digest takes every tag of that manifest with it.
        assert managed.repo.delete_manifest(managed.content.manifests[1].digest).status_code == 202
        answer = managed.repo.tags()
        assert answer.status_code == 404 or answer.json()["tags"] in ([], None)

    def test_delete_blob(self, managed: Bench) -> None:
        for digest in managed.content.blobs:
            assert managed.repo.delete_blob(digest).status_code == 202

    def test_get_deleted_blob(self, managed: Bench) -> None:
        for digest in managed.content.blobs:
            assert_error(managed.repo.get_blob(digest), 404, "BLOB_UNKNOWN")
            assert_error(managed.repo.delete_blob(digest), 404)
