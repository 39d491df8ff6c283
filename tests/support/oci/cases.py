"""Every case of the official suites by its own name, and the test here that covers it.

`V1_1_1` lists the suite of distribution-spec 1.1.1 (workflow / context / case), `REWRITTEN` the one
that replaced it (test / step / request). `test_cases.py` fails when a listed case has no test.
"""

from __future__ import annotations

_PULL = "test_workflows.py::TestPull::"
_PUSH = "test_workflows.py::TestPush::"
_FIND = "test_workflows.py::TestDiscovery::"
_MANAGE = "test_workflows.py::TestManagement::"

# official case -> tests, by context; a name met more than once in a context stands here once.
V1_1_1: dict[str, dict[str, tuple[str, ...]]] = {
    "Pull / Setup": {
        "Populate registry with test blob": (_PULL + "test_setup_blobs",),
        "Populate registry with test layer": (_PULL + "test_setup_blobs",),
        "Populate registry with test manifest": (_PULL + "test_setup_manifests",),
        "Get tag name from environment": (_PULL + "test_setup_manifests",),
    },
    "Pull / Pull blobs": {
        "HEAD request to nonexistent blob should result in 404 response": (_PULL + "test_head_missing_blob",),
        "HEAD request to existing blob should yield 200": (_PULL + "test_head_blob",),
        "GET nonexistent blob should result in 404 response": (_PULL + "test_get_missing_blob",),
        "GET request to existing blob URL should yield 200": (_PULL + "test_get_blob",),
    },
    "Pull / Pull manifests": {
        "HEAD request to nonexistent manifest should return 404": (_PULL + "test_head_missing_manifest",),
        "HEAD request to manifest[0] path (digest) should yield 200 response": (
            _PULL + "test_head_manifest_by_digest[0]",
        ),
        "HEAD request to manifest[1] path (digest) should yield 200 response": (
            _PULL + "test_head_manifest_by_digest[1]",
        ),
        "HEAD request to manifest path (tag) should yield 200 response": (
            _PULL + "test_head_manifest_by_tag",
        ),
        "GET nonexistent manifest should return 404": (_PULL + "test_get_missing_manifest",),
        "GET request to manifest[0] path (digest) should yield 200 response": (
            _PULL + "test_get_manifest_by_digest[0]",
        ),
        "GET request to manifest[1] path (digest) should yield 200 response": (
            _PULL + "test_get_manifest_by_digest[1]",
        ),
        "GET request to manifest path (tag) should yield 200 response": (_PULL + "test_get_manifest_by_tag",),
    },
    "Pull / Error codes": {
        "400 response body should contain OCI-conforming JSON message": (_PULL + "test_error_body",),
    },
    "Pull / Teardown": {
        "Delete manifest[0] created in setup": (_PULL + "test_teardown",),
        "Delete manifest[1] created in setup": (_PULL + "test_teardown",),
        "Delete config[0] blob created in setup": (_PULL + "test_teardown",),
        "Delete config[1] blob created in setup": (_PULL + "test_teardown",),
        "Delete layer blob created in setup": (_PULL + "test_teardown",),
    },
    "Push / Blob Upload Streamed": {
        "PATCH request with blob in body should yield 202 response": (_PUSH + "test_streamed",),
        "PUT request to session URL with digest should yield 201 response": (_PUSH + "test_streamed",),
    },
    "Push / Blob Upload Monolithic": {
        "GET nonexistent blob should result in 404 response": (_PUSH + "test_get_missing_blob",),
        "POST request with digest and blob should yield a 201 or 202": (_PUSH + "test_single_post",),
        "GET request to blob URL from prior request should yield 200 or 404 based on response code": (
            _PUSH + "test_single_post",
        ),
        "POST request should yield a session ID": (_PUSH + "test_post_then_put",),
        "PUT upload of a blob should yield a 201 Response": (_PUSH + "test_post_then_put",),
        "GET request to existing blob should yield 200 response": (_PUSH + "test_post_then_put",),
        "PUT upload of a layer blob should yield a 201 Response": (_PUSH + "test_post_then_put",),
        "GET request to existing layer should yield 200 response": (_PUSH + "test_post_then_put",),
    },
    "Push / Blob Upload Chunked": {
        "Out-of-order blob upload should return 416": (_PUSH + "test_first_chunk_out_of_order",),
        "PATCH request with first chunk should return 202": (_PUSH + "test_chunked_and_resumed",),
        "Retry previous blob chunk should return 416": (_PUSH + "test_chunked_and_resumed",),
        "Get on stale blob upload should return 204 with a range and location": (
            _PUSH + "test_chunked_and_resumed",
        ),
        "PATCH request with second chunk should return 202": (_PUSH + "test_chunked_and_resumed",),
        "PUT request with digest should return 201": (_PUSH + "test_chunked_and_resumed",),
    },
    "Push / Cross-Repository Blob Mount": {
        "Cross-mounting of a blob without the from argument should yield session id": (
            _PUSH + "test_mount_without_from_of_a_missing_blob",
        ),
        "POST request to mount another repository's blob should return 201 or 202": (_PUSH + "test_mount",),
        "GET request to test digest within cross-mount namespace should return 200": (_PUSH + "test_mount",),
        "Cross-mounting of nonexistent blob should yield session id": (
            _PUSH + "test_mount_of_a_missing_blob",
        ),
        "Cross-mounting without from, and automatic content discovery enabled should return a 201": (
            _PUSH + "test_mount_without_from",
        ),
        "Cross-mounting without from, and automatic content discovery disabled should return a 202": (
            _PUSH + "test_mount_without_from",
        ),
    },
    "Push / Manifest Upload": {
        "GET nonexistent manifest should return 404": (_PUSH + "test_get_missing_manifest",),
        "PUT should accept a manifest upload": (_PUSH + "test_manifest",),
        "Registry should accept a manifest upload with no layers": (_PUSH + "test_manifest_without_layers",),
        "GET request to manifest URL (digest) should yield 200 response": (_PUSH + "test_manifest",),
    },
    "Push / Teardown": {
        "Delete manifest created in tests": (_PUSH + "test_teardown",),
        "Delete config blob created in tests": (_PUSH + "test_teardown",),
        "Delete layer blob created in setup": (_PUSH + "test_teardown",),
    },
    "Content Discovery / Setup": {
        "Populate registry with test blob": (_FIND + "test_setup_references",),
        "Populate registry with test layer": (_FIND + "test_setup_references",),
        "Populate registry with test tags": (_FIND + "test_tags",),
        "Populate registry with test tags (no push)": (_FIND + "test_tags",),
        "References setup": (_FIND + "test_setup_references",),
    },
    "Content Discovery / Test content discovery endpoints (listing tags)": {
        "GET request to list tags should yield 200 response": (_FIND + "test_tags",),
        "GET number of tags should be limitable by `n` query parameter": (_FIND + "test_tags_n",),
        "GET start of tag is set by `last` query parameter": (_FIND + "test_tags_last",),
    },
    "Content Discovery / Test content discovery endpoints (listing references)": {
        "GET request to nonexistent blob should result in empty 200 response": (
            _FIND + "test_referrers_of_nothing",
        ),
        "GET request to existing blob should yield 200": (_FIND + "test_referrers",),
        "GET request to existing blob with filter should yield 200": (_FIND + "test_referrers_filtered",),
        "GET request to missing manifest should yield 200": (_FIND + "test_referrers_of_a_missing_manifest",),
    },
    "Content Discovery / Teardown": {
        "Delete created manifest & associated tags": (_FIND + "test_teardown",),
        "Delete config blob created in tests": (_FIND + "test_teardown",),
        "Delete layer blob created in setup": (_FIND + "test_teardown",),
        "References teardown": (_FIND + "test_teardown",),
    },
    "Content Management / Setup": {
        "Populate registry with test config blob": (_MANAGE + "test_setup",),
        "Populate registry with test layer": (_MANAGE + "test_setup",),
        "Populate registry with test tag": (_MANAGE + "test_setup",),
        "Check how many tags there are before anything gets deleted": (_MANAGE + "test_setup",),
    },
    "Content Management / Manifest delete": {
        "DELETE request to manifest tag should return 202, unless tag deletion is disallowed (400/405)": (
            _MANAGE + "test_delete_tag",
        ),
        "DELETE request to manifest (digest) should yield 202 response unless already deleted": (
            _MANAGE + "test_delete_manifest",
        ),
        "GET request to deleted manifest URL should yield 404 response, unless delete is disallowed": (
            _MANAGE + "test_get_deleted_manifest",
        ),
        "GET request to tags list should reflect manifest deletion": (_MANAGE + "test_tags_after_delete",),
    },
    "Content Management / Blob delete": {
        "DELETE request to blob URL should yield 202 response": (_MANAGE + "test_delete_blob",),
        "GET request to deleted blob URL should yield 404 response": (_MANAGE + "test_get_deleted_blob",),
    },
}

_ROOT = "test_manifests.py::"
REWRITTEN: dict[str, tuple[str, ...]] = {
    "ping": (_ROOT + "test_ping",),
    "empty/tag list": (_ROOT + "test_empty_tag_list",),
    "empty/referrers": (_ROOT + "test_empty_referrers",),
    "missing-manifest/by-digest": (_ROOT + "test_missing_manifest_by_digest",),
    "missing-manifest/by-tag": (_ROOT + "test_missing_manifest_by_tag",),
    "invalid-digest-format/blob-post-put": (_ROOT + "test_put_manifest_with_malformed_digest",),
    "invalid-digest-format/manifest-put": (_ROOT + "test_put_manifest_with_malformed_digest",),
    "invalid-digest-format/manifest-get": (_ROOT + "test_get_manifest_with_malformed_digest",),
    "invalid-digest-format/delete/manifest-delete": (_ROOT + "test_put_manifest_with_malformed_digest",),
    "invalid-digest-format/delete/blob-delete": (_ROOT + "test_put_manifest_with_malformed_digest",),
    # `sparse` pushes manifests whose parts are absent, which a registry may refuse: this one does.
    "sparse": (_ROOT + "test_sparse_image_is_refused", _ROOT + "test_sparse_index_is_refused"),
}

# For each blob test: the requests it makes, and the test here.
_READ = ("blob-head", "blob-get", "blob-delete")
_BLOBS: dict[str, tuple[tuple[str, ...], str]] = {
    "post only": (("blob-post-only", *_READ), "test_push[post only-{a}]"),
    "post+put": (("blob-post-put", *_READ), "test_push[post+put-{a}]"),
    "chunked single": (("blob-patch-chunked", *_READ), "test_push[chunked single-{a}]"),
    "stream": (("blob-patch-stream", *_READ), "test_push[stream-{a}]"),
    "chunked multi": (("blob-patch-chunked", *_READ), "test_push[chunked multi-{a}]"),
    "chunked multi and put chunk": (
        ("blob-patch-chunked", *_READ),
        "test_push[chunked multi and put chunk-{a}]",
    ),
    "chunked out-of-order": (("blob-patch-chunked", *_READ), "test_chunks_out_of_order[patch-{a}]"),
    "chunked out-of-order and put chunk": (
        ("blob-patch-chunked", *_READ),
        "test_chunks_out_of_order[put-{a}]",
    ),
    "mount": (("blob-post-put", "blob-mount", *_READ), "test_mount[{a}]"),
    "mount anonymous": (("blob-post-put", "blob-mount-anonymous", *_READ), "test_mount_anonymous[{a}]"),
    "mount missing": (("blob-mount", *_READ), "test_mount_missing[{a}]"),
    "post cancel": (("blob-post-cancel", "blob-delete"), "test_cancel[{a}]"),
    "empty": (("blob-post-put", *_READ), "test_known_content[empty-{a}]"),
    "emptyJSON": (("blob-post-put", *_READ), "test_known_content[emptyJSON-{a}]"),
    "bad digest post only": (("blob-post-only",), "test_bad_digest[post only-{a}]"),
    "bad digest post+put": (("blob-post-put",), "test_bad_digest[post+put-{a}]"),
    "bad digest chunked": (("blob-patch-chunked",), "test_bad_digest[chunked multi-{a}]"),
    "bad digest chunked and put chunk": (
        ("blob-patch-chunked",),
        "test_bad_digest[chunked multi and put chunk-{a}]",
    ),
    "bad digest stream": (("blob-patch-stream",), "test_bad_digest[stream-{a}]"),
}
_RANGES = {
    "range 500-1499": "test_range[500-1499-{a}]",
    "range 500-": "test_range[500--{a}]",
    "range -500": "test_range[-500-{a}]",
    "range 2000-5000": "test_range[2000-5000-{a}]",
    "range 500-0": "test_range_refused[500-0-{a}]",
    "range 5000-10000": "test_range_refused[5000-10000-{a}]",
    "blob-post-put": "test_range[500-1499-{a}]",
    "blob-delete": "test_range[500-1499-{a}]",
}
for _a in ("sha256", "sha512"):
    REWRITTEN[f"{_a} blobs/get-missing"] = (f"test_blobs.py::test_get_missing[{_a}]",)
    for _name, (_requests, _test) in _BLOBS.items():
        for _request in _requests:
            REWRITTEN[f"{_a} blobs/{_name}/{_request}"] = (f"test_blobs.py::{_test.format(a=_a)}",)
    for _name, _test in _RANGES.items():
        REWRITTEN[f"{_a} blobs/range requests/{_name}"] = (f"test_blobs.py::{_test.format(a=_a)}",)

# For each data test: what it has besides manifests that are pushed, read and deleted by digest.
_BLOB, _TAG, _TAG_PARAM, _SUBJECT = "blobs", "tags", "tag parameters", "subject"
_DATA: dict[str, tuple[str, ...]] = {
    "image": (_BLOB, _TAG),
    "image-uncompressed": (_BLOB, _TAG),
    "large-manifest": (_BLOB, _TAG),
    "index": (_BLOB, _TAG),
    "nested-index": (_BLOB, _TAG),
    "empty-index": (_TAG,),
    "artifact": (_BLOB, _TAG),
    "artifact-index": (_BLOB, _TAG),
    "artifact-without-layers": (_BLOB, _TAG),
    "artifacts-with-subject": (_BLOB, _TAG, _SUBJECT),
    "index-with-subject": (_BLOB, _TAG, _SUBJECT),
    "missing-subject": (_BLOB, _TAG, _SUBJECT),
    "data-field": (_BLOB, _TAG),
    "non-distributable-layers": (_BLOB, _TAG),
    "custom-fields": (_BLOB, _TAG),
    "no-layers": (_BLOB, _TAG),
    "sha512": (_BLOB,),
    "tag-param-sha256": (_BLOB, _TAG, _TAG_PARAM),
    "tag-param-sha512": (_BLOB, _TAG, _TAG_PARAM),
    "bad-digest-image": (_BLOB,),
}
for _name, _has in _DATA.items():
    _bad = _name == "bad-digest-image"
    _steps = {"tag-list": "test_tag_list"}
    _steps["push/manifest-by-digest"] = (
        "test_push_manifest_with_wrong_digest" if _bad else "test_push_manifest_by_digest"
    )
    _steps["delete/manifest-delete"] = "test_delete_refused_manifest" if _bad else "test_delete_manifest"
    if not _bad:
        _steps["head/manifest-head-by-digest"] = "test_head_manifest_by_digest"
        _steps["pull/manifest-by-digest"] = "test_pull_manifest_by_digest"
    if _BLOB in _has:
        _steps["push/blob-post-put"] = "test_push_blobs"
        _steps["head/blob-head"] = "test_head_blobs"
        _steps["pull/blob-get"] = "test_pull_blobs"
        _steps["delete/blob-delete"] = "test_delete_blob"
    if _TAG in _has:
        _steps["push/manifest-by-tag"] = (
            "test_push_manifest_with_tag_parameters" if _TAG_PARAM in _has else "test_push_manifest_by_tag"
        )
        _steps["head/manifest-head-by-tag"] = "test_head_manifest_by_tag"
        _steps["pull/manifest-by-tag"] = "test_pull_manifest_by_tag"
        _steps["delete/tag-delete"] = "test_delete_tag"
    if _SUBJECT in _has:
        _steps["referrers"] = "test_referrers"
    for _step, _test in _steps.items():
        REWRITTEN[f"{_name}/{_step}"] = (f"test_datasets.py::{_test}[{_name}]",)


def table() -> dict[str, tuple[str, ...]]:
    """Both suites as one table: the case's full name -> test ids, relative to this folder."""
    cases = {
        f"1.1.1: {context} / {name}": tests for context, of in V1_1_1.items() for name, tests in of.items()
    }
    return cases | {f"rewritten: {name}": tests for name, tests in REWRITTEN.items()}
