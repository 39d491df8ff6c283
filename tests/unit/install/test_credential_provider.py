"""The credential provider: kubelet's plugin protocol, and requests that try to look like another one."""

from __future__ import annotations

import json
import subprocess
from importlib import resources
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.kernel.errors import ConfigError
from seawall.process.commands.kubelet import PROVIDER, provider_config

API = "credentialprovider.kubelet.k8s.io/v1"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln_-"
ROBOT = "robot$ci+pull"


def asked(**changes: Any) -> dict[str, Any]:
    """A request as kubelet writes it; a change to None leaves a member out."""
    found = {
        "kind": "CredentialProviderRequest",
        "apiVersion": API,
        "image": "registry.example.com:5443/ci/app:1.0",
        "serviceAccountToken": TOKEN,
        "serviceAccountAnnotations": {"seawall/robot": ROBOT},
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def run(request: Any, *arguments: str, indent: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program; `request` is sent as JSON, a text as it is."""
    text = request if isinstance(request, str) else json.dumps(request, indent=indent, ensure_ascii=False)
    program = resources.files("seawall.install").joinpath("data", PROVIDER)
    return subprocess.run(
        ["sh", str(program), *arguments], input=text, capture_output=True, text=True, timeout=20
    )


def answered(request: Any, *arguments: str, **options: Any) -> dict[str, Any]:
    """The credentials that the response has."""
    done = run(request, *arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    response = json.loads(done.stdout)
    assert response.pop("auth") is not None
    assert response == {
        "apiVersion": API,
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Image",
        "cacheDuration": "0s",
    }
    auth: dict[str, Any] = json.loads(done.stdout)["auth"]
    return auth


@pytest.mark.parametrize("indent", [None, 2])
def test_the_pod_s_token_is_the_password(indent: int | None) -> None:
    mine = {"registry.example.com:5443": {"username": ROBOT, "password": TOKEN}}
    assert answered(asked(), indent=indent) == mine
    # What the service account says comes before what the node says.
    assert answered(asked(), "--robot", "robot$other", indent=indent) == mine
    named = answered(asked(serviceAccountAnnotations=None), "--robot", "robot$other", indent=indent)
    assert named["registry.example.com:5443"]["username"] == "robot$other"
    own = {"example.com/puller": "robot$third", "example.com-puller": "robot$wrong"}
    named = answered(asked(serviceAccountAnnotations=own), "--annotation", "example.com/puller")
    assert named["registry.example.com:5443"]["username"] == "robot$third"


def test_without_a_token_or_a_robot_the_pull_is_anonymous() -> None:
    assert answered(asked(serviceAccountToken=None)) == {}
    assert answered(asked(serviceAccountToken="")) == {}
    assert answered(asked(serviceAccountAnnotations=None)) == {}
    assert answered(asked(serviceAccountAnnotations={})) == {}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("", f"not one of {API}"),
        ("no JSON", f"not one of {API}"),
        (asked(apiVersion="credentialprovider.kubelet.k8s.io/v2"), f"not one of {API}"),
        (asked(image=None), "names no image"),
        (asked(image='r.example.com"/x'), "names no image"),
        (asked(serviceAccountToken="a b"), "not a signed token"),
        (asked(serviceAccountToken="$(id)"), "not a signed token"),
    ],
)
def test_other_requests_are_refused(request_: Any, reason: str) -> None:
    done = run(request_)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_arguments() -> None:
    assert "unknown argument --robots" in run(asked(), "--robots", "x").stderr
    assert "--robot needs a value" in run(asked(), "--robot").stderr


def test_an_annotation_s_name_is_no_member_s() -> None:
    own = {"image": "evil/x", "serviceAccountToken": "evil", "q": 'a"}', "seawall/robot": "robot$a}+b"}
    found = answered(asked(serviceAccountAnnotations=own))
    assert found == {"registry.example.com:5443": {"username": "robot$a}+b", "password": TOKEN}}


def test_hosts_of_every_form() -> None:
    assert list(answered(asked(image="[::1]:5000/ci/app"))) == ["[::1]:5000"]
    for image in ("alpine:3", "registry.example.com"):
        assert "names no image" in run(asked(image=image)).stderr
    assert "no quotes" in run(asked(serviceAccountAnnotations=None), "--robot", 'a"b').stderr


@pytest.mark.parametrize(
    ("url", "robot"),
    [
        ("https://user:pass@r.example.com", None),
        ("https://*.example.com", None),
        ("https://r.example.com/path", None),
        ("https://r.example.com: x", None),
        ("https://r.example.com\n- evil", None),
        ("https://", None),
        ("r.example.com", None),
        ("https://r.example.com", 'a"b'),
        ("https://r.example.com", "a\nb"),
    ],
)
def test_configurations_that_cannot_be(url: str, robot: str | None) -> None:
    with pytest.raises(ConfigError):
        provider_config(url, "aud", robot)


@settings(max_examples=25, deadline=None)
@given(
    st.text(max_size=60) | st.sampled_from(['","image":"evil.example.com/x', '\\","serviceAccountToken":"x'])
)
def test_no_annotation_looks_like_another_member(text: str) -> None:
    found = answered(asked(serviceAccountAnnotations={"a": text, "seawall/robot": ROBOT, "z": text}))
    assert found == {"registry.example.com:5443": {"username": ROBOT, "password": TOKEN}}
    # A robot's name has no quotes and no backslashes; with one the pull is anonymous.
    done = run(asked(serviceAccountAnnotations={"seawall/robot": text}))
    assert done.returncode == 0
    assert set(json.loads(done.stdout)["auth"]) <= {"registry.example.com:5443"}


def test_kubelet_s_configuration() -> None:
    document = yaml.safe_load(
        yaml.safe_dump(provider_config("https://registry.example.com:5443/", "aud", ROBOT))
    )
    (provider,) = document["providers"]
    assert (document["apiVersion"], document["kind"]) == (
        "kubelet.config.k8s.io/v1",
        "CredentialProviderConfig",
    )
    assert provider["name"] == PROVIDER
    assert provider["matchImages"] == ["registry.example.com:5443"]
    assert provider["apiVersion"] == API
    assert provider["args"] == ["--robot", ROBOT]
    assert provider["tokenAttributes"] == {
        "serviceAccountTokenAudience": "aud",
        "cacheType": "Token",
        "requireServiceAccount": True,
        "optionalServiceAccountAnnotationKeys": ["seawall/robot"],
    }
