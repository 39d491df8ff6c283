"""A caller of the shared registry, for the cases of Harbor's own API tests."""

from __future__ import annotations

import os
import secrets
from typing import Any

from tests.support.oci.client import unique
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.scan.client import INDEX, MANIFEST, Client, artifact
from tests.support.scan.images import tar
from tests.support.signing import Pusher
from tests.support.waiting import until

__all__ = ["CRON", "Caller", "artifact", "harbor_of"]
# Every Sunday.
CRON = "0 0 0 * * 0"


class Caller(Client):
    """One user. Helpers make what a case needs; `call` says what a request must answer."""

    def __init__(self, registry: Registry, name: str = "admin", password: str = PASSWORD) -> None:
        super().__init__(registry, (name, password))
        self.name, self.password = name, password

    def call(self, method: str, path: str, expect: int = 200, body: object = None, **query: Any) -> Any:
        """The answer's document, or its text; the status must be `expect`."""
        options: dict[str, Any] = {"params": query}
        if body is not None:
            options["json"] = body
        answer = self.api(method, path, expect, **options)
        kind = answer.headers.get("content-type", "")
        return answer.json() if kind.startswith("application/json") and answer.content else answer.text

    def made(self, path: str, body: object) -> int:
        """POST that must make something; its id."""
        return int(self.api("POST", path, 201, json=body).headers["Location"].rpartition("/")[2])

    def user(self) -> tuple[int, Caller]:
        """A new user: id and caller."""
        name = f"user-{secrets.token_hex(5)}"
        person = {"username": name, "email": f"{name}@example.test", "realname": name, "password": PASSWORD}
        return self.made("/users", person), Caller(self.registry, name)

    def project(self, public: bool = False, **fields: Any) -> tuple[int, str]:
        """A new project: id and name."""
        name = unique("project")
        metadata = {"public": str(public).lower(), **fields.pop("metadata", {})}
        return self.made("/projects", {"project_name": name, "metadata": metadata, **fields}), name

    def member(self, project: int | str, user_id: int, role: int = 1, expect: int = 201) -> str:
        """Make the user a member; the member's path."""
        body = {"role_id": role, "member_user": {"user_id": user_id}}
        answer = self.api("POST", f"/projects/{project}/members", expect, json=body)
        return str(answer.headers.get("Location", "")).removeprefix("/api/v2.0")

    def image(self, repository: str, *tags: str, size: int = 2000, note: str = "") -> str:
        """Push an image of `size` random bytes under the tags; its digest."""
        layer = tar({"data": os.urandom(size)})
        first, *others = tags or ("latest",)
        # A config of its own, so that each image has two blobs that no other has.
        digest = self.push(repository, first, layer, note=note or secrets.token_hex(8))
        for tag in others:
            self.tag(repository, first, tag)
        return digest

    def tag(self, repository: str, reference: str, tag: str, expect: int = 201) -> None:
        """Add a tag over the API."""
        self.api("POST", f"{artifact(repository, reference)}/tags", expect, json={"name": tag})

    def index(self, repository: str, tag: str, *digests: str, **more: Any) -> str:
        """Push an index of manifests of the repository; its digest."""
        members = [{"mediaType": MANIFEST, "digest": digest, "size": 1} for digest in digests]
        for member, extra in zip(members, more.pop("members", ()), strict=False):
            member.update(extra)
        for member in members:
            member["size"] = len(self.pull(repository, str(member["digest"])).content)
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": members, **more}
        return self.manifest(repository, tag, document)

    def pull(self, repository: str, reference: str, expect: int = 200) -> Any:
        """GET of a manifest, by Basic credentials."""
        answer = self.http.get(f"/v2/{repository}/manifests/{reference}", headers={"Accept": "*/*"})
        assert answer.status_code == expect, f"{answer.status_code} {answer.text}"
        return answer

    def refused_push(self, repository: str, tag: str = "latest") -> str:
        """Try to push; it must be refused. The text of the refusal."""
        begun = self.http.post(f"/v2/{repository}/blobs/uploads/")
        assert begun.status_code in (401, 403), f"{begun.status_code} {begun.text}"
        return begun.text

    def pusher(self, repository: str) -> Pusher:
        """What makes signatures and other accessories."""
        return Pusher(self.registry.url, repository, (self.name, self.password))

    def scanned(self, repository: str, reference: str) -> dict[str, Any]:
        """Scan, and wait for success; the overview."""

        def begun() -> bool:
            path = f"/api/v2.0{artifact(repository, reference)}/scan"
            answer = self.http.post(path, json={"scan_type": "vulnerability"})
            # A scan of all artifacts, of another test, may be at it.
            assert answer.status_code in (202, 409), f"{answer.status_code} {answer.text}"
            return answer.status_code == 202

        until(begun, f"{repository}:{reference} cannot be scanned")
        return self.overview(repository, reference)

    def overview(self, repository: str, reference: str) -> dict[str, Any]:
        """The overview of a scan that succeeds."""

        def over() -> dict[str, Any] | None:
            found = self.call("GET", artifact(repository, reference), with_scan_overview=True)
            shown = list((found.get("scan_overview") or {}).values())
            return shown[0] if shown and shown[0]["scan_status"] == "Success" else None

        return until(over, f"no scan of {repository}:{reference}")

    def unscanned(self, repository: str, reference: str) -> bool:
        """Whether no scan is known."""
        found = self.call("GET", artifact(repository, reference), with_scan_overview=True)
        return not found.get("scan_overview")

    def robot(self, level: str, permissions: list[dict[str, Any]]) -> tuple[int, Caller]:
        """A new robot account: id and caller."""
        body = {"name": unique("robot"), "level": level, "duration": 30, "permissions": permissions}
        made = self.call("POST", "/robots", 201, body)
        return made["id"], Caller(self.registry, made["name"], made["secret"])


def harbor_of(admin: Caller, name: str) -> dict[str, Any]:
    """This registry as a Harbor that is replicated to."""
    credential = {"type": "basic", "access_key": admin.name, "access_secret": admin.password}
    return {
        "name": name,
        "type": "harbor",
        "url": admin.registry.url,
        "insecure": True,
        "credential": credential,
    }
