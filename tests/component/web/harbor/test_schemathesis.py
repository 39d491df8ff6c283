"""Generated requests to every operation of the OpenAPI document: never a 500, always our error envelope.

As the administrator, with few examples an operation: the aim is breadth. Each operation is a subtest, and all
are in, except the one whose answer has no end (`test_events.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.support import openapi
from tests.support.api import Api
from tests.support.registry import Registry

# One connection for all of it.
SESSION = requests.Session()
# Made when it is asked for: each worker would spend seconds on requests that only one of them sends.
schema = schemathesis.pytest.from_fixture("described").exclude(path="/api/v2.0/seawall/events")
# In parts, by method: one test has a time limit.
PARTS = [{"GET", "HEAD"}, {"POST"}, {"PUT", "PATCH"}, {"DELETE"}]
of_part = [schema.include(method=sorted(methods)) for methods in PARTS]


@pytest.fixture(scope="module")
def described() -> Any:
    return schemathesis.openapi.from_dict(openapi.document())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A server of this test's own: the requests change it."""
    registry = Registry(tmp_path_factory.mktemp("schemathesis") / "data", {"SEAWALL_HTTP__WORKERS": "1"})
    registry.start()
    try:
        with Api(registry, registry.admin) as admin:
            admin.post("/projects", json={"project_name": "project"})
        yield registry
    finally:
        registry.close()


@pytest.fixture(autouse=True)
def named(request: pytest.FixtureRequest) -> None:
    """Schemathesis reports by a name that a test of pytest 9.2 has no more."""
    if not hasattr(request.node, "_nodeid"):
        request.node._nodeid = request.node.nodeid


few = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_no_method_is_left_out() -> None:
    found = {method.upper() for item in openapi.document()["paths"].values() for method in item}
    assert found - {"PARAMETERS"} == set().union(*PARTS)


def look(case: Any, server: Registry) -> None:
    response = case.call(base_url=server.url, auth=server.admin, session=SESSION, timeout=30)
    assert response.status_code < 500 or response.status_code in (501, 502, 503), (
        f"{case.method} {case.formatted_path} -> {response.status_code}: {response.text[:300]}"
    )
    # Harbor answers a failed import with a list of the users that failed.
    own_shape = case.path == "/api/v2.0/ldap/users/import" and response.status_code == 404
    if response.status_code >= 400 and case.method != "HEAD" and not own_shape:
        [error] = response.json()["errors"]
        assert error["code"]
        assert error["message"]


@of_part[0].parametrize()
@few
@pytest.mark.timeout(1800)
def test_no_500_of_reads(case: Any, server: Registry) -> None:
    look(case, server)


@of_part[1].parametrize()
@few
@pytest.mark.timeout(1800)
def test_no_500_of_posts(case: Any, server: Registry) -> None:
    look(case, server)


@of_part[2].parametrize()
@few
@pytest.mark.timeout(1800)
def test_no_500_of_changes(case: Any, server: Registry) -> None:
    look(case, server)


@of_part[3].parametrize()
@few
@pytest.mark.timeout(1800)
def test_no_500_of_deletions(case: Any, server: Registry) -> None:
    look(case, server)
