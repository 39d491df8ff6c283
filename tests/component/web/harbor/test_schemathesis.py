"""Generated requests to every operation of the OpenAPI document: never a 500, always our error envelope.

As the administrator, with few examples an operation: the aim is breadth. Every operation of the document is
in, but the one whose answer has no end (`test_events.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from seawall.web.harbor.app import make_app
from tests.support.api import Api
from tests.support.registry import Registry

# One connection for all of it.
SESSION = requests.Session()
schema = schemathesis.openapi.from_dict(make_app().openapi()).exclude(path="/api/v2.0/seawall/events")


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


@schema.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_500(case: Any, server: Registry) -> None:
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
