"""Cases about artifacts: signatures, referrers, kinds, tags, immutability."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import signing
from tests.support.artifacts import chart, rule
from tests.support.harbor.attached import SBOM, cosigned, sbom
from tests.support.harbor.caller import Caller, artifact
from tests.support.oci.client import OCI_MANIFEST
from tests.support.registry import Registry
from tests.support.scan.content import npm

NOTATION = "application/vnd.cncf.notary.signature"
CONFIG = "application/vnd.oci.image.config.v1+json"


def accessories(caller: Caller, repository: str, reference: str) -> list[dict[str, Any]]:
    """What three operations say that is attached, which must be the same."""
    shown: list[dict[str, Any]] = (
        caller.call("GET", artifact(repository, reference), with_accessory=True).get("accessories") or []
    )
    listed = caller.call("GET", f"{artifact(repository, reference)}/accessories")
    assert sorted(item["digest"] for item in listed) == sorted(item["digest"] for item in shown)
    return shown


def signed_case(admin: Caller, kind: str) -> None:
    """An image without and with a signature of a kind."""
    _, user = admin.user()
    _, name = user.project()
    app = f"{name}/app"
    digest = user.image(app)
    assert accessories(user, app, digest) == []
    if kind == "signature.cosign":
        signature = cosigned(user, app, digest)
    else:
        root, key = signing.Authority.make("root"), ec.generate_private_key(ec.SECP256R1())
        envelope = signing.notation_jws(key, [root.signer(key)], digest)
        signature = user.pusher(app).accessory(digest, NOTATION, ("application/jose+json", envelope))
    [found] = accessories(user, app, "latest")
    assert (found["type"], found["digest"]) == (kind, signature)
    [listed] = user.call("GET", f"/projects/{name}/repositories/app/artifacts", with_accessory=True)
    assert [item["type"] for item in listed["accessories"]] == [kind]
    assert user.call("GET", artifact(app, signature))["digest"] == signature


def test_a_signature_of_cosign(admin: Caller) -> None:
    signed_case(admin, "signature.cosign")


def test_a_signature_of_notation(admin: Caller) -> None:
    signed_case(admin, "signature.notation")


def test_children_inherit_the_signatures_of_an_index(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    app = f"{name}/app"
    children = [user.image(app, tag) for tag in ("a", "b")]
    index = user.index(app, "all", *children)
    inherit = {"with_accessory": True, "with_inherited_accessory": True}
    assert not user.call("GET", artifact(app, children[0]), **inherit).get("inherited_accessories")
    cosigned(user, app, index)
    root, key = signing.Authority.make("root"), ec.generate_private_key(ec.SECP256R1())
    envelope = signing.notation_jws(key, [root.signer(key)], index)
    user.pusher(app).accessory(index, NOTATION, ("application/jose+json", envelope))
    both = {"signature.cosign", "signature.notation"}
    assert {item["type"] for item in accessories(user, app, "all")} == both
    child = user.call("GET", artifact(app, children[0]), **inherit)
    assert {item["type"] for item in child["inherited_accessories"]} == both
    assert {item["subject_artifact_digest"] for item in child["inherited_accessories"]} == {index}
    assert not child.get("accessories")


def test_content_trust_holds_unsigned_images_back(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    app = f"{name}/app"
    digest = admin.image(app)
    assert user.call("GET", artifact(app, "latest"))["tags"][0]["name"] == "latest"
    admin.pull(app, "latest")
    user.call("PUT", f"/projects/{project}", body={"metadata": {"enable_content_trust_cosign": "true"}})
    assert "The image is not signed by cosign" in admin.pull(app, "latest", 412).text
    cosigned(user, app, digest)
    admin.pull(app, "latest")


def test_referrers(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    app = f"{name}/app"
    digest = user.image(app, "dev")
    attached = sbom(user, app, digest)
    signature = cosigned(user, app, digest, referrer=True)
    cosigned(user, app, attached, referrer=True)

    def referrers(of: str, kind: str | None = None) -> tuple[dict[str, str], str | None]:
        answer = user.http.get(f"/v2/{app}/referrers/{of}", params={"artifactType": kind} if kind else {})
        assert answer.status_code == 200, answer.text
        found = answer.json()["manifests"]
        assert all(item["mediaType"] == OCI_MANIFEST and item["size"] > 0 for item in found)
        filtered = answer.headers.get("OCI-Filters-Applied")
        return {item["digest"]: item["artifactType"] for item in found}, filtered

    assert len(accessories(user, app, "dev")) == 2
    kinds = {attached: SBOM, signature: "application/vnd.dev.cosign.artifact.sig.v1+json"}
    assert referrers(digest) == (kinds, None)
    assert len(referrers(attached)[0]) == 1
    by_tag = user.image(app, "other")
    signature_by_tag = cosigned(user, app, by_tag)
    # Under cosign's tag it has no artifact type of its own, but that of its config.
    config = "application/vnd.oci.empty.v1+json"
    assert referrers(by_tag) == ({signature_by_tag: config}, None)
    assert referrers(by_tag, config) == ({signature_by_tag: config}, "artifactType")
    for found, kind in kinds.items():
        assert referrers(digest, kind) == ({found: kind}, "artifactType")


def test_names_with_slashes(admin: Caller) -> None:
    user_id, user = admin.user()
    project, name = admin.project()
    admin.member(project, user_id)
    user.image(f"{name}/aaa/bbb/redis")
    assert user.call("GET", artifact(f"{name}/aaa/bbb/redis", "latest"))["type"] == "IMAGE"


def test_a_helm_chart(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    repository = f"{name}/web"
    files = {
        "web/Chart.yaml": b"name: web\nversion: 1.7.3\n",
        "web/values.yaml": b"expose: true\n",
        "web/README.md": b"# Helm Chart for the web\n",
    }
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json",
            **user.blob(repository, b'{"name":"web","version":"1.7.3"}'),
        },
        "layers": [
            {
                "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                **user.blob(repository, chart(files)),
            }
        ],
    }
    user.manifest(repository, "1.7.3", document)
    [listed] = user.call("GET", f"/projects/{name}/repositories/web/artifacts")
    shown = user.call("GET", artifact(repository, "1.7.3"))
    for found in (listed, shown):
        assert (found["type"], found["tags"][0]["name"]) == ("CHART", "1.7.3")
    additions = f"{artifact(repository, '1.7.3')}/additions"
    assert "Helm Chart for the web" in user.call("GET", f"{additions}/readme.md")
    assert "expose" in user.call("GET", f"{additions}/values.yaml")
    user.call("DELETE", artifact(repository, "1.7.3"))


def test_a_cnab_bundle_and_its_scans(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    repository = f"{name}/bundle"
    images = [user.push(repository, "", npm(("left-pad", "1.0.0")), note=str(n)) for n in range(2)]
    config = user.manifest(
        repository,
        "",
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.cnab.config.v1+json",
                **user.blob(repository, b'{"schemaVersion":"v1.0.0","name":"hello","version":"0.1.0"}'),
            },
            "layers": [],
        },
    )
    kinds = ("config", "invocation", "component")
    bundle = user.index(
        repository,
        "v1",
        config,
        *images,
        members=[{"annotations": {"io.cnab.manifest.type": kind}} for kind in kinds],
        annotations={
            "io.cnab.runtime_version": "v1.0.0",
            "org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1",
        },
    )
    assert user.call("GET", f"/projects/{name}/repositories/bundle")["name"] == repository
    [listed] = user.call("GET", f"/projects/{name}/repositories/bundle/artifacts")
    found = {i["child_digest"]: i["annotations"]["io.cnab.manifest.type"] for i in listed["references"]}
    assert found == dict(zip([config, *images], kinds, strict=True))
    shown = user.call("GET", artifact(repository, bundle))
    assert (shown["type"], shown["digest"]) == ("CNAB", bundle)
    assert shown["extra_attrs"]["name"] == "hello"
    user.scan(repository, config, expect=400)
    user.scanned(repository, images[0])
    assert user.unscanned(repository, images[1])
    assert user.unscanned(repository, config)
    user.scanned(repository, images[1])
    user.scanned(repository, bundle)
    assert user.unscanned(repository, config)


def test_an_index(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    repository = f"{name}/all"
    children = [user.push(repository, "", npm(("left-pad", "1.0.0")), note=str(n)) for n in range(2)]
    index = user.index(repository, "v1", *children)
    for found in (
        user.call("GET", f"/projects/{name}/repositories/all/artifacts")[0],
        user.call("GET", artifact(repository, "v1")),
    ):
        assert found["digest"] == index
        assert {item["child_digest"] for item in found["references"]} == set(children)
    user.pull(repository, "v1")
    for reference in ("v1", *children):
        assert user.call("GET", f"{artifact(repository, reference)}/additions/vulnerabilities") == {}
    for child in children:
        assert user.call("GET", f"{artifact(repository, child)}/additions/build_history") is not None
    user.scanned(repository, children[0])
    assert user.unscanned(repository, children[1])
    user.scanned(repository, children[1])
    assert user.overview(repository, index)["scan_status"] == "Success"
    user.call("DELETE", artifact(repository, children[0]), 412)
    user.call("DELETE", artifact(repository, "v1"))


def test_tags_come_and_go(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    admin.image(f"{name}/app", "latest")

    def tags() -> list[str]:
        found = user.call("GET", artifact(f"{name}/app", "latest"), with_tag=True)
        return [item["name"] for item in found["tags"]]

    user.tag(f"{name}/app", "latest", "1.0")
    assert tags() == ["1.0", "latest"]
    user.call("DELETE", f"{artifact(f'{name}/app', 'latest')}/tags/1.0")
    assert tags() == ["latest"]


def immutable(caller: Caller, repository: str, reference: str) -> dict[str, bool]:
    found = caller.call("GET", artifact(repository, reference), with_immutable_status=True, with_tag=True)
    return {item["name"]: item["immutable"] for item in found["tags"]}


def test_immutable_tags(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    rules = f"/projects/{project}/immutabletagrules"
    off = user.made(rules, rule("la*", "disabled", disabled=True))
    user.image(f"{name}/disabled", "latest", "6.2.2")
    assert immutable(user, f"{name}/disabled", "6.2.2") == {"latest": False, "6.2.2": False}
    user.call("PUT", f"{rules}/{off}", body={"id": off, **rule("la*", "disabled", disabled=False)})
    assert immutable(user, f"{name}/disabled", "6.2.2") == {"latest": True, "6.2.2": False}
    kept = f"{name}/disabled"
    words = "configured as immutable, cannot be deleted"
    assert words in str(user.call("DELETE", artifact(kept, "latest"), 412))
    assert words in str(user.call("DELETE", f"/projects/{name}/repositories/disabled", 412))
    user.call("DELETE", f"{artifact(kept, 'latest')}/tags/latest", 412)
    user.call("DELETE", f"{artifact(kept, 'latest')}/tags/6.2.2")
    document = json.loads(user.pull(kept, "latest").text)
    document["annotations"] = {"changed": "yes"}
    refused = user.http.put(
        f"/v2/{kept}/manifests/latest", json=document, headers={"Content-Type": document["mediaType"]}
    )
    assert refused.status_code == 412
    assert "configured as immutable" in refused.text
    _, source = user.project()
    digest = user.image(f"{source}/disabled", "latest", "1.3.2")
    copies = f"/projects/{name}/repositories/disabled/artifacts"
    answer = user.api("POST", copies, 412, params={"from": f"{source}/disabled@{digest}"})
    assert "configured as immutable, cannot be updated" in answer.text


def test_rules_that_exclude_repositories(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    for repository, tags in (("a", ("latest",)), ("b", ("latest", "0.12.0")), ("c", ("latest", "3.12.0"))):
        user.image(f"{name}/{repository}", *tags)
    rules = f"/projects/{project}/immutabletagrules"
    user.made(rules, rule("6.3.2", "a"))
    excluding = rule("**")
    excluding["scope_selectors"] = {
        "repository": [{"kind": "doublestar", "decoration": "repoExcludes", "pattern": "{a,b}"}]
    }
    user.made(rules, excluding)
    user.tag(f"{name}/a", "latest", "6.3.2")
    assert immutable(user, f"{name}/a", "latest") == {"6.3.2": True, "latest": False}
    assert immutable(user, f"{name}/b", "latest") == {"0.12.0": False, "latest": False}
    assert immutable(user, f"{name}/c", "latest") == {"3.12.0": True, "latest": True}
    user.call("POST", rules, 409, excluding)


def test_files_pushed_by_oras(admin: Caller, site: Registry) -> None:
    _, user = admin.user()
    _, name = user.project()
    repository = f"{name}/hello-artifact"
    pushed = {title: title.encode() * 50 for title in ("artifact.txt", "readme.md")}
    layers = [
        {
            "mediaType": "text/plain",
            **user.blob(repository, data),
            "annotations": {"org.opencontainers.image.title": title},
        }
        for title, data in pushed.items()
    ]
    config = {"mediaType": "application/vnd.acme.rocket.config.v1+json", **user.blob(repository, b"{}")}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    user.manifest(repository, "test_v2", document)
    assert user.call("GET", f"/projects/{name}/repositories/hello-artifact")["name"] == repository
    assert user.call("GET", artifact(repository, "test_v2"))["tags"][0]["name"] == "test_v2"
    for layer in user.pull(repository, "test_v2").json()["layers"]:
        data = user.http.get(f"/v2/{repository}/blobs/{layer['digest']}").content
        assert data == pushed[layer["annotations"]["org.opencontainers.image.title"]]


def test_a_model(admin: Caller) -> None:
    """What no test of Harbor's has: a CNAI model, its README, licence and list of files."""
    _, user = admin.user()
    _, name = user.project()
    repository = f"{name}/model"
    files = {"README.md": b"# A model\n", "LICENSE": b"Apache-2.0\n", "weights/one.bin": b"\0" * 64}
    layers = [
        {
            "mediaType": f"application/vnd.cnai.model.{'weight' if '/' in path else 'doc'}.v1.raw",
            **user.blob(repository, data),
            "annotations": {"org.cnai.model.filepath": path},
        }
        for path, data in files.items()
    ]
    config = {"descriptor": {"name": "tiny"}, "config": {"architecture": "transformer"}}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.cnai.model.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cnai.model.config.v1+json",
            **user.blob(repository, json.dumps(config).encode()),
        },
        "layers": layers,
    }
    user.manifest(repository, "v1", document)
    shown = user.call("GET", artifact(repository, "v1"))
    assert (shown["type"], shown["extra_attrs"]["descriptor"]["name"]) == ("CNAI", "tiny")
    assert {"readme.md", "license", "files"} <= shown["addition_links"].keys()
    additions = f"{artifact(repository, 'v1')}/additions"
    assert user.call("GET", f"{additions}/readme.md") == "# A model\n"
    assert user.call("GET", f"{additions}/LICENSE") == "Apache-2.0\n"
    assert user.call("GET", f"{additions}/files")[0] == {
        "name": "weights",
        "type": "directory",
        "children": [{"name": "one.bin", "type": "file", "size": 64}],
    }
    user.call("GET", f"{additions}/values.yaml", 400)
