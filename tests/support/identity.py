"""What says who people and programs are, made at one instance and looked for at another."""

from __future__ import annotations

import secrets
from typing import Any

import httpx

from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.issuer import AUDIENCE, Issuer
from tests.support.servers.slapd import ADMIN_DN, ADMIN_PASSWORD, PEOPLE, Slapd
from tests.support.sites import noise, push
from tests.support.waiting import until

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
SOURCES = "/system/identity-sources"


class Identity:
    """A directory as a source, two of its people (one linked to a user who was here), a robot that trusts an
    issuer, a personal access token, and a virtual project."""

    def __init__(self, here: Registry, directory: Slapd, issuer: Issuer) -> None:
        self.issuer = issuer
        # Names of its own: several tests may use one site.
        mark = self.mark = f"m{secrets.token_hex(3)}"
        self.linked, self.known, self.project, self.virtual = (
            f"{mark}{word}" for word in ("linked", "known", "own", "all")
        )
        for person in (self.linked, self.known):
            directory.add_user(person, PASSWORD)
        here.create_user(f"{mark}local", PASSWORD)
        here.create_project(self.project)
        here.add_member(self.project, f"{mark}local", "developer")
        self.digest = push(here.url, here.admin, f"{self.project}/app", "v1", noise())
        lists = {"virtual_members": self.project}
        here.api("POST", "/projects", json={"project_name": self.virtual, "metadata": lists})
        here.add_member(self.virtual, f"{mark}local", "developer")
        source = {
            "name": mark,
            "kind": "ldap",
            "title": f"Company {mark}",
            "configuration": {
                "url": directory.url,
                "search_dn": ADMIN_DN,
                "search_password": ADMIN_PASSWORD,
                "base_dn": PEOPLE,
                "uid": "uid",
                # Another's people in the same directory are not this source's.
                "filter": f"(uid={mark}*)",
            },
        }
        here.api("POST", SOURCES, json=source)
        link = {"source": mark, "username": self.linked}
        number = self._number(here, f"{mark}local")
        here.api("POST", f"/users/{number}/identities", json=link)
        pull = [{"resource": "repository", "action": "pull"}]
        robot = {
            "name": mark,
            "level": "project",
            "duration": -1,
            "permissions": [{"kind": "project", "namespace": self.project, "access": pull}],
            "trusted_issuers": [
                {
                    "issuer": issuer.url,
                    "audience": AUDIENCE,
                    "claims": {"repository": "acme/app"},
                    # Pinned: no instance asks for keys.
                    "jwks": issuer.jwks,
                }
            ],
        }
        self.robot = here.api("POST", "/robots", json=robot).json()["name"]
        made = httpx.post(
            f"{here.url}/api/v2.0/users/current/tokens",
            auth=(self.linked, PASSWORD),
            json={"name": mark, "scopes": ["pull"]},
            timeout=60,
        )
        assert made.status_code == 201, made.text
        self.token = made.json()["token"]
        # She comes for the first time, by the name that the source's prefix gives her.
        assert self.me(here, self.known) == f"{mark}-{self.known}"
        self.shown = self._shown(here)

    def me(self, there: Registry, person: str) -> str:
        """As whom an instance knows somebody who shows the directory's password."""
        url = f"{there.url}/api/v2.0/users/current"
        answer = httpx.get(url, auth=(person, PASSWORD), timeout=60)
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["username"]
        return name

    def exchange(self, there: Registry, **claims: Any) -> httpx.Response:
        """A token of the issuer for one of the registry."""
        form = {
            "grant_type": EXCHANGE,
            "client_id": self.robot,
            "subject_token_type": JWT,
            "subject_token": self.issuer.token(**claims),
            "scope": f"repository:{self.project}/app:pull",
        }
        return httpx.post(f"{there.url}/service/token", data=form, timeout=60)

    def check(self, there: Registry) -> None:
        """Everything is at the other instance, and works."""
        assert self._shown(there) == self.shown
        assert self.me(there, self.linked) == f"{self.mark}local"
        assert self.me(there, self.known) == f"{self.mark}-{self.known}"
        assert self.exchange(there, repository="acme/other").status_code == 401
        given = self.exchange(there)
        assert given.status_code == 200, given.text
        bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}
        pulled = httpx.get(f"{there.url}/v2/{self.project}/app/manifests/v1", headers=bearer, timeout=60)
        assert pulled.headers["docker-content-digest"] == self.digest

        def together() -> bool:
            url = f"{there.url}/v2/{self.virtual}/app/manifests/v1"
            answer = httpx.get(url, auth=(f"{self.mark}local", self.token), timeout=60)
            return bool(answer.headers.get("docker-content-digest") == self.digest)

        # An instance knows virtual projects by a list that is up to five seconds old.
        until(together)

    def _number(self, there: Registry, name: str) -> int:
        found = there.api("GET", "/users", params={"q": f"username={name}"}).json()
        return int(found[0]["user_id"])

    def _shown(self, there: Registry) -> Any:
        """What the API tells, without what an instance numbers itself."""
        project = there.api("GET", f"/projects/{self.virtual}").json()
        number = there.api("GET", f"/projects/{self.project}").json()["project_id"]
        robots = there.api("GET", "/robots", params={"q": f"Level=project,ProjectID={number}"}).json()
        return (
            there.api("GET", f"{SOURCES}/{self.mark}").json(),
            [
                there.api("GET", f"/users/{self._number(there, name)}/identities").json()
                for name in (f"{self.mark}local", f"{self.mark}-{self.known}")
            ],
            [robot["trusted_issuers"] for robot in robots if robot["name"] == self.robot],
            project["metadata"]["virtual_members"],
        )
