"""Routes get what they need by class, and an application that lacks one of them does not start."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from seawall.web.harbor.app import ROUTERS, make_app
from seawall.web.harbor.needs import given, offer


class Clock:
    """A service."""

    def now(self) -> int:
        return 7


def router() -> APIRouter:
    made = APIRouter()

    @made.get("/now")
    async def now(clock: Annotated[Any, given(Clock)]) -> int:
        found: int = clock.now()
        return found

    return made


def test_a_route_gets_the_object_of_the_class() -> None:
    app = FastAPI()
    app.include_router(router())
    offer(app, [router()], {Clock: Clock()})
    assert TestClient(app).get("/now").json() == 7


def test_what_a_route_needs_and_nobody_offers_is_found_at_start() -> None:
    with pytest.raises(TypeError, match="/now needs Clock"):
        offer(FastAPI(), [router()], {})


def test_harbors_api_does_not_start_without_its_services() -> None:
    with pytest.raises(TypeError, match="which nobody offers"):
        offer(make_app(), ROUTERS, {})
