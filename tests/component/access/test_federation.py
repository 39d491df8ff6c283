"""Robots without secrets: tokens of trusted issuers, exchanged or shown as the password, and attacks."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from seawall.access.federation import Federation, TokenRefusedError
from seawall.access.issuer_keys import IssuerKeys
from seawall.access.trusted_issuers import TrustedIssuer, parse
from seawall.infra.addresses import networks
from seawall.kernel.errors import InvalidError, UnavailableError
from seawall.process.commands.kubelet import PROVIDER
from tests.support.lab import Lab
from tests.support.registry import Registry
from tests.support.servers.issuer import AUDIENCE, Issuer, open_issuer
from tests.support.sites import push
from tests.support.waiting import until

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ROBOT = (7, "robot$p+ci", None)
LOOPBACK = networks(["127.0.0.0/8"])


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with open_issuer() as made:
        yield made


def trusted(issuer: Issuer, **changes: Any) -> list[TrustedIssuer]:
    item = {"issuer": issuer.url, "audience": AUDIENCE, "claims": {"sub": "repo:acme/*:ref:refs/heads/main"}}
    return parse([{**item, **changes}])


def federation(lab: Lab, noted: list[Any] | None = None) -> Federation:
    noted = [] if noted is None else noted
    return Federation(lab.db, IssuerKeys(LOOPBACK), lambda _connection, taken: noted.append(taken))


Run = Callable[..., None]


async def refused(made: Federation, issuers: list[TrustedIssuer], token: str) -> str:
    with pytest.raises(TokenRefusedError) as error:
        await made.admit(ROBOT, issuers, token, "192.0.2.1", once=True)
    return str(error.value)


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, claims)]
    return ".".join(part.rstrip("=") for part in parts) + "."


def test_tokens_that_are_refused(run: Run, issuer: Issuer) -> None:
    async def body(lab: Lab) -> None:
        made, issuers, now = federation(lab), trusted(issuer), int(time.time())
        for changes, reason in (
            ({"aud": "another"}, "another audience"),
            ({"aud": None}, "another audience"),
            ({"aud": [AUDIENCE + "/x", AUDIENCE[:-1]]}, "another audience"),
            ({"exp": now - 60}, "expired"),
            ({"exp": None}, "when it expires"),
            ({"exp": "9999999999"}, "when it expires"),
            ({"exp": True}, "when it expires"),
            ({"exp": 10**400}, "when it expires"),
            ({"exp": float("nan")}, "when it expires"),
            ({"iat": -(10**400)}, "not valid yet"),
            # A year in a variable of a pipeline is a password.
            ({"exp": now + 365 * 86400}, "lives longer"),
            ({"exp": now + 365 * 86400, "iat": None, "nbf": None}, "lives longer"),
            ({"exp": now + 60, "iat": now - 2 * 86400}, "lives longer"),
            ({"nbf": now + 600}, "not valid yet"),
            ({"iat": now + 600}, "not valid yet"),
            ({"sub": "repo:acme/app:ref:refs/heads/other"}, "claim sub"),
            ({"sub": "repo:acme/app:pull_request"}, "claim sub"),
            ({"sub": "repo:evil/app:ref:refs/heads/main"}, "claim sub"),
            ({"sub": "repo:acme/app:environment:x:ref:refs/heads/main"}, "claim sub"),
            ({"sub": "repo:acme/a/b:ref:refs/heads/main"}, "claim sub"),
            ({"sub": "repo:acme/app:ref:refs/heads/main\n"}, "claim sub"),
            ({"sub": None}, "no subject"),
            ({"sub": ["repo:acme/app:ref:refs/heads/main"]}, "no subject"),
            ({"jti": 7}, "jti"),
            ({"jti": ""}, "jti"),
            # JSON can write what UTF-8 and PostgreSQL have not.
            ({"jti": "\ud800"}, "jti"),
            ({"sub": "repo:acme/\ud800:ref:refs/heads/main"}, "no subject"),
            ({"sub": "repo:acme/\0:ref:refs/heads/main"}, "no subject"),
            ({"iss": "https://another.example.com"}, "does not trust"),
            ({"iss": issuer.url + "/"}, "does not trust"),
            ({"iss": None}, "does not trust"),
        ):
            assert reason in await refused(made, issuers, issuer.token(**changes)), changes
        right = issuer.token()
        head, claims, signature = right.split(".")
        other = issuer.new_key()
        for token, reason in (
            # Another's key under the known name, no signature, HMAC by the public key, half a token.
            (
                issuer.token(other, issuer.keys[0].kid),
                "not signed",
            ),
            (unsigned({"alg": "none"}, issuer.claims()), "public key"),
            (unsigned({"alg": "None", "kid": issuer.keys[0].kid}, issuer.claims()), "public key"),
            (issuer.confused(), "public key"),
            (f"{head}.{claims}.", "not signed"),
            (f"{head}.{claims}.{signature[:-4]}AAAA", "not signed"),
            (f"{head}.{claims}", "malformed"),
            (f"{head}.{head}.{signature}", "does not trust"),
            (right + "\n", "malformed"),
            ("eyJ" + "A" * 20_000 + ".e.x", "malformed"),
        ):
            assert reason in await refused(made, issuers, token), token[:80]
        # None of them used the right one up.
        await made.admit(ROBOT, issuers, right, "192.0.2.1", once=True)

    run(body)


def test_a_key_in_the_token_is_not_looked_at(run: Run, issuer: Issuer) -> None:
    async def body(lab: Lab) -> None:
        mine = issuer.new_key()
        header = {"alg": "RS256", "jwk": mine.as_dict(private=False), "jku": f"{issuer.url}/mine"}
        token = jwt.encode(header, issuer.claims(), mine)
        await refused(federation(lab), trusted(issuer), token)
        assert set(issuer.asked) <= {"/.well-known/openid-configuration", "/keys"}

    run(body)


def test_a_token_counts_once(run: Run, issuer: Issuer) -> None:
    async def body(lab: Lab) -> None:
        noted: list[Any] = []
        # Two processes that know nothing of each other.
        first, second = federation(lab, noted), federation(lab, noted)
        issuers, token = trusted(issuer), issuer.token()
        found = await asyncio.gather(
            *(made.admit(ROBOT, issuers, token, "192.0.2.1", once=True) for made in (first, second) * 3),
            return_exceptions=True,
        )
        assert [type(item) for item in found if item] == [TokenRefusedError] * 5
        assert [(item.issuer, item.subject) for item in noted] == [(issuer.url, issuer.claims()["sub"])]
        # As a password it may come again from the same address, for the same robot; then never elsewhere.
        token = issuer.token()
        for made in (first, second):
            await made.admit(ROBOT, issuers, token, "192.0.2.1", once=False)
        for robot, address, once in (
            (ROBOT, "192.0.2.2", False),
            ((8, "robot$x", None), "192.0.2.1", False),
            (ROBOT, "192.0.2.1", True),
        ):
            with pytest.raises(TokenRefusedError, match="used before"):
                await second.admit(robot, issuers, token, address, once=once)
        # Of a cluster's nodes each has an address of its own.
        anywhere, token = trusted(issuer, any_address=True), issuer.token()
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            await second.admit(ROBOT, anywhere, token, address, once=False)
        for robot, once in (((8, "robot$x", None), False), (ROBOT, True)):
            with pytest.raises(TokenRefusedError, match="used before"):
                await first.admit(robot, anywhere, token, "192.0.2.1", once=once)
        # An exchange uses it up for both.
        token = issuer.token()
        await first.admit(ROBOT, issuers, token, "192.0.2.1", once=True)
        for trusting in (issuers, anywhere):
            with pytest.raises(TokenRefusedError, match="used before"):
                await first.admit(ROBOT, trusting, token, "192.0.2.1", once=False)

    run(body)


def test_keys_are_kept_and_rotated(run: Run, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(lab: Lab) -> None:
        clock = [1000.0]
        monkeypatch.setattr("seawall.access.issuer_keys.time.monotonic", lambda: clock[0])
        made, issuers = federation(lab), trusted(issuer)

        async def taken(key: Any = None) -> None:
            await made.admit(ROBOT, issuers, issuer.token(key), "192.0.2.1", once=True)

        await asyncio.gather(*(taken() for _ in range(4)))
        assert issuer.asked["/keys"] == 1
        # A key that is not known is asked for, but not for every token.
        old = issuer.keys[0]
        issuer.keys = [issuer.new_key()]
        await refused(made, issuers, issuer.token())
        clock[0] += 11
        await taken()
        assert issuer.asked["/keys"] == 2
        await refused(made, issuers, issuer.token(old))
        for _ in range(3):
            await refused(made, issuers, issuer.token(issuer.new_key()))
        assert issuer.asked["/keys"] == 2
        # Down: what is known goes on for an hour; what is not cannot be judged.
        issuer.down = True
        clock[0] += 700
        await taken()
        await refused(made, issuers, issuer.token(aud="another"))
        clock[0] += 11
        with pytest.raises(UnavailableError):
            await taken(issuer.new_key())
        clock[0] += 4000
        with pytest.raises(UnavailableError):
            await taken()
        asked = issuer.asked["/.well-known/openid-configuration"]
        with pytest.raises(UnavailableError):
            await taken()
        assert issuer.asked["/.well-known/openid-configuration"] == asked
        issuer.down = False
        clock[0] += 11
        await taken()

    run(body)


def test_issuers_that_are_not_what_they_say(run: Run, issuer: Issuer) -> None:
    async def body(lab: Lab) -> None:
        for document in (
            {"issuer": "https://another.example.com"},
            {"jwks_uri": None},
            {"jwks_uri": "file:///x"},
        ):
            issuer.document = document
            with pytest.raises(UnavailableError):
                await federation(lab).admit(ROBOT, trusted(issuer), issuer.token(), "", once=True)
        # A key of a kind that nobody here knows locks nobody out; a private one is nobody's proof.
        issuer.document = {}
        issuer.more_keys = [
            {"kty": "EC", "crv": "P-999", "x": "a", "y": "b", "kid": "1"},
            {"kty": "RSA", "kid": "2"},
            RSAKey.generate_key(2048, {"kid": "3"}).as_dict(private=True),
            RSAKey.generate_key(1024, {"kid": "4"}).as_dict(private=False),
        ]
        await federation(lab).admit(ROBOT, trusted(issuer), issuer.token(), "", once=True)
        issuer.more_keys = []
        # The inside of the network is not asked, by the issuer's word or by an administrator's of a project.
        issuer.document = {"jwks_uri": "https://10.0.0.1/keys"}
        with pytest.raises(UnavailableError, match="cannot be read"):
            await federation(lab).admit(ROBOT, trusted(issuer), issuer.token(), "", once=True)
        asked = sum(issuer.asked.values())
        closed = Federation(lab.db, IssuerKeys(()), lambda *_: None)
        with pytest.raises(UnavailableError):
            await closed.admit(ROBOT, trusted(issuer), issuer.token(), "", once=True)
        assert sum(issuer.asked.values()) == asked
        # Pinned keys need nobody.
        await closed.admit(ROBOT, trusted(issuer, jwks=issuer.jwks), issuer.token(), "", once=True)
        assert sum(issuer.asked.values()) == asked

    run(body)


def test_conditions(issuer: Issuer) -> None:
    claims = {
        "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder"}},
        "ref_protected": True,
        "groups": ["a", "b"],
        "run": 7,
        "https://x.example/y": "z",
        "half": "a\ud800",
    }
    for conditions, fits in (
        ({"kubernetes.io/namespace": "ci", "kubernetes.io/serviceaccount/name": ["x", "build*"]}, True),
        ({"kubernetes.io/namespace": "c"}, False),
        ({"kubernetes.io": "**x"}, False),
        ({"ref_protected": "true"}, True),
        ({"ref_protected": "false"}, False),
        ({"groups": "b"}, True),
        ({"groups": "c"}, False),
        ({"run": "7", "https://x.example/y": "z"}, True),
        ({"none": "x"}, False),
        ({"none": "**", "run": "7"}, False),
        ({"run": "."}, False),
        ({"half": "**", "run": "7"}, False),
    ):
        assert (trusted(issuer, claims=conditions)[0].mismatch(claims) is None) is fits, conditions


@pytest.mark.parametrize(
    "wrong",
    [
        {"audience": ""},
        {"audience": None},
        {"issuer": ""},
        {"issuer": "http://ci.example.com"},
        {"issuer": "https://user@ci.example.com"},
        {"issuer": "https://ci.example.com?x=1"},
        {"issuer": "https://[ci"},
        {"claims": {}},
        {"claims": {"sub": "*"}},
        {"claims": {"sub": ["main", "**"]}},
        {"claims": {"sub": []}},
        # They say nothing of who it is.
        {"claims": {"sub": "**:*/*"}},
        {"claims": {"iss": "https://ci.example.com", "aud": "x", "sub": "**"}},
        {"claims": {"": "x"}},
        {"claims": {"sub": "x\0"}},
        {"claims": {"sub": "x\ud800"}},
        {"claims": {"x\ud800": "x"}},
        {"any_address": "yes"},
        {"any_address": 1},
        {"jwks": {}},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "RSA"}]}},
        {"jwks": {"keys": [RSAKey.generate_key(1024, private=False).as_dict(private=False)]}},
        {"jwks": {"keys": [OctKey.generate_key(256).as_dict()]}},
        {"jwks": {"keys": [ECKey.generate_key("P-256").as_dict(private=True)]}},
    ],
)
def test_issuers_that_cannot_be_trusted(wrong: dict[str, Any]) -> None:
    item = {"issuer": "https://ci.example.com", "audience": "x", "claims": {"sub": "x"}}
    with pytest.raises(InvalidError):
        parse([{**item, **wrong}])


def test_over_http(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> None:
    """Exchange and password, rights, audit log, the API and the command, at a real server."""
    folder = tmp_path_factory.mktemp("federation")
    server = Registry(folder / "data", {"SEAWALL_AUTH__ISSUER_NETWORKS": '["127.0.0.0/8"]'})
    server.start()
    try:
        _over_http(server, issuer)
    finally:
        server.close()


def _pulled_by_a_pod(server: Registry, issuer: Issuer, robot: str) -> None:
    """kubelet asks the credential provider, and containerd (here skopeo) pulls with what it answers."""
    push(server.url, server.admin, "p/app", "pod", b"x" * 100)
    host = server.url.removeprefix("http://")

    def pull(image: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        request = {
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "kind": "CredentialProviderRequest",
            "image": f"{host}/{image}",
            "serviceAccountToken": issuer.token(**changes),
            "serviceAccountAnnotations": {"seawall/robot": robot},
        }
        program = resources.files("seawall.install").joinpath("data", PROVIDER)
        answer = subprocess.run(
            ["sh", str(program)], input=json.dumps(request), capture_output=True, text=True, check=True
        )
        auth = json.loads(answer.stdout)["auth"][host]
        command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--creds"]
        command += [f"{auth['username']}:{auth['password']}", f"docker://{host}/{image}"]
        return subprocess.run(command, capture_output=True, text=True)

    assert pull("p/app:pod").returncode == 0
    # Another account's token, and an image that the robot may not pull.
    assert pull("p/app:pod", repository="acme/other").returncode != 0
    assert pull("q/app:pod").returncode != 0


def _over_http(server: Registry, issuer: Issuer) -> None:
    server.create_project("p")
    server.create_project("q")
    pull = [{"resource": "repository", "action": "pull"}]
    trust = {"issuer": issuer.url, "audience": AUDIENCE, "claims": {"repository": "acme/app"}}
    robot = {
        "name": "ci",
        "level": "project",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": "p", "access": pull}],
        "trusted_issuers": [trust],
    }
    made = server.api("POST", "/robots", json=robot).json()
    shown = server.api("GET", f"/robots/{made['id']}").json()
    assert shown["trusted_issuers"] == [
        {**trust, "claims": {"repository": ["acme/app"]}, "any_address": False}
    ]
    no_audience = {**robot, "name": "x", "trusted_issuers": [{**trust, "audience": ""}]}
    answer = httpx.post(f"{server.url}/api/v2.0/robots", json=no_audience, auth=server.admin)
    assert (answer.status_code, "audience" in answer.text) == (400, True)
    form = {
        "grant_type": EXCHANGE,
        "client_id": made["name"],
        "subject_token_type": JWT,
        "scope": "repository:p/app:pull,push repository:q/app:pull",
    }

    def exchange(**changes: str) -> httpx.Response:
        fields = {**form, "subject_token": issuer.token(), **changes}
        return httpx.post(f"{server.url}/service/token", data={k: v for k, v in fields.items() if v})

    # An issuer that is down is no wrong token, neither here nor for a password.
    issuer.down = True
    down = exchange()
    assert (down.status_code, down.headers["Retry-After"]) == (503, "1")
    assert down.json()["error"] == "temporarily_unavailable"
    shown_as_password = httpx.get(f"{server.url}/v2/", auth=(made["name"], issuer.token()))
    assert shown_as_password.status_code == 503
    issuer.down = False

    # Each process asks for itself.
    until(lambda: {exchange().status_code for _ in range(12)} == {200})
    given = exchange().json()
    assert given["scope"] == "repository:p/app:pull repository:q/app:"
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 900)
    assert given["issued_token_type"].endswith(":access_token")
    bearer = {"Authorization": f"Bearer {given['access_token']}"}
    assert httpx.get(f"{server.url}/v2/p/app/tags/list", headers=bearer).status_code == 404
    assert httpx.get(f"{server.url}/v2/q/app/tags/list", headers=bearer).status_code == 401
    assert httpx.post(f"{server.url}/v2/p/app/blobs/uploads/", headers=bearer).status_code == 401
    logs = server.api("GET", "/auditlog-exts?q=operation=exchange").json()
    assert {(item["username"], issuer.url in item["operation_description"]) for item in logs} == {
        (made["name"], True)
    }
    assert issuer.claims()["sub"] in logs[0]["operation_description"]
    # What is wrong with the form, with the token, and with the issuer are three things.
    for changes in (
        {"subject_token": ""},
        {"client_id": ""},
        {"client_id": "a\0b"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"actor_token": "x"},
    ):
        answer = exchange(**changes)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), changes
    for changes in (
        {"subject_token": issuer.token(aud="x")},
        {"client_id": "robot$nobody"},
        {"client_id": "admin"},
    ):
        answer = exchange(**changes)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant"), changes
    # As the password, by a client that shows it each time.
    token = issuer.token()
    for _ in range(2):
        answer = httpx.get(
            f"{server.url}/service/token",
            params={"scope": "repository:p/app:pull"},
            auth=(made["name"], token),
        )
        assert answer.status_code == 200
    assert exchange(subject_token=token).status_code == 401
    assert httpx.get(f"{server.url}/service/token", auth=("admin", issuer.token())).status_code == 401
    answer = exchange(service="another")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    # Wrong tokens lock nobody out, and a fleet's jobs come at once.
    for _ in range(12):
        assert exchange(subject_token=issuer.token(aud="x")).status_code == 401
    with ThreadPoolExecutor(12) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: exchange(), range(24))} == {200}
    _pulled_by_a_pod(server, issuer, made["name"])
    # The command takes the trust away, and gives it back.
    name = made["name"].removeprefix("robot$")
    assert server.cli("robot", "distrust", name, "--issuer", issuer.url).returncode == 0
    assert exchange().status_code == 401
    command = ("robot", "trust", name, "--issuer", issuer.url, "--audience", AUDIENCE, "--claim")
    assert server.cli(*command, "repository").returncode == 1
    assert server.cli(*command, "repository=acme/*").returncode == 0
    assert json.loads(server.cli("robot", "trusted", name, "--json").stdout)[0]["claims"] == {
        "repository": ["acme/*"]
    }
    assert exchange().status_code == 200
    server.api("PUT", f"/robots/{made['id']}", json={**shown, "disable": True, "trusted_issuers": None})
    assert exchange().status_code == 401
