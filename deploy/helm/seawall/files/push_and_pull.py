"""What `helm test` runs: pushes a small image to the registry, pulls it, compares, and deletes it.

Needs SEAWALL_TEST_URL (the service inside the cluster) and SEAWALL_TEST_PASSWORD (of user admin), and
nothing but the standard library. Exit code 1 and one line when the registry does not do what it should.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message

URL = os.environ["SEAWALL_TEST_URL"].rstrip("/")
REPOSITORY = "library/helm-test"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LOGIN = "Basic " + base64.b64encode(f"admin:{os.environ['SEAWALL_TEST_PASSWORD']}".encode()).decode()
# The certificate is for the name that clients use, and this is not that name.
TLS = ssl._create_unverified_context()  # noqa: S323


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Blobs may be in an object store that only clients reach: the redirect itself is the answer then."""

    def redirect_request(self, *args: object) -> None:
        """Follow nothing."""


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=TLS))


def call(
    method: str, path: str, body: bytes | None = None, expect: tuple[int, ...] = (200,), **headers: str
) -> tuple[bytes, Message]:
    """(body, headers) of the answer; ends the program when its status is another one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(URL + path, body, named, method=method)  # noqa: S310 - http or https
    try:
        with OPENER.open(request, timeout=30) as answer:
            status, data, found = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, data, found = error.code, error.read(), error.headers
    except OSError as error:
        sys.exit(f"{method} {path}: {error}")
    if status not in expect:
        sys.exit(f"{method} {path}: status {status}: {data[:300].decode(errors='replace')}")
    return data, found


def blob(data: bytes, kind: str, token: str) -> dict[str, object]:
    """Upload a blob; its descriptor."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    _, found = call("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", (202,), Authorization=token)
    place = urllib.parse.urlsplit(found["Location"])
    query = f"{place.query}&" if place.query else ""
    call(
        "PUT",
        f"{place.path}?{query}{urllib.parse.urlencode({'digest': digest})}",
        data,
        (201,),
        Authorization=token,
        Content_Type="application/octet-stream",
    )
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def main() -> None:
    """Push, pull, delete."""
    _, found = call("GET", "/v2/", expect=(401,))
    challenge = dict(part.split("=", 1) for part in found["WWW-Authenticate"].partition(" ")[2].split(","))
    scope = {
        "service": challenge["service"].strip('"'),
        "scope": f"repository:{REPOSITORY}:pull,push,delete",
    }
    text, _ = call("GET", f"/service/token?{urllib.parse.urlencode(scope)}", Authorization=LOGIN)
    token = "Bearer " + json.loads(text)["token"]

    tag = secrets.token_hex(8)
    layer = secrets.token_bytes(4096)
    config = json.dumps({"architecture": "amd64", "os": "linux", "author": tag}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blob(config, CONFIG, token),
            "layers": [blob(layer, LAYER, token)],
        }
    ).encode()
    place = f"/v2/{REPOSITORY}/manifests/{tag}"
    call("PUT", place, manifest, (201,), Authorization=token, Content_Type=MANIFEST)
    pulled, _ = call("GET", place, Authorization=token, Accept=MANIFEST)
    if pulled != manifest:
        sys.exit("the manifest that was pulled is not the one that was pushed")
    digest = json.loads(pulled)["layers"][0]["digest"]
    data, found = call("GET", f"/v2/{REPOSITORY}/blobs/{digest}", expect=(200, 307), Authorization=token)
    if not found.get("Location") and data != layer:
        sys.exit("the layer that was pulled is not the one that was pushed")
    name = "sha256:" + hashlib.sha256(manifest).hexdigest()
    call("DELETE", f"/v2/{REPOSITORY}/manifests/{name}", expect=(202,), Authorization=token)
    print(f"pushed, pulled and deleted {REPOSITORY}@{name}")


if __name__ == "__main__":
    main()
