"""`/metrics`: what Prometheus scrapes of an instance."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import platform
from collections.abc import Callable

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from seawall import __version__
from seawall.availability.cluster.figures import Figures
from seawall.availability.cluster.health import Health
from seawall.infra.configuration import Configuration
from seawall.infra.settings import Settings
from seawall.kernel.errors import UnavailableError
from seawall.web.harbor.system import COMPATIBLE
from seawall.web.internal.exposition import Collected, gauge, of_cluster, of_instance

# Harbor's `comp` parameter: which part of the metrics.
_PARTS = ("core", "exporter", "jobservice", "registry")


class MetricsEndpoint:
    """Answers `/metrics`."""

    def __init__(
        self,
        settings: Settings,
        figures: Figures,
        health: Health,
        configuration: Configuration,
        dialect: str,
        write: Callable[[], None],
    ) -> None:
        """`write`: has this process write what it has counted and not written yet."""
        self._settings = settings
        self._figures = figures
        self._health = health
        self._configuration = configuration
        self._dialect = dialect
        self._write = write

    async def serve(self, request: Request) -> Response:
        """Starlette endpoint."""
        token = self._settings.metrics.token
        if not shows_token(request.headers.get("authorization", ""), token):
            return PlainTextResponse(
                "metrics.token is set: send it as Authorization: Bearer TOKEN\n",
                401,
                headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
            )
        part = request.query_params.get("comp")
        if part is not None and part not in _PARTS:
            return PlainTextResponse(f"comp must be one of {', '.join(_PARTS)}\n", 400)
        families: list[Metric] = []
        if part != "exporter":
            self._write()
            # In a thread: clients' requests must not wait for what every process of the instance has counted.
            counted = await asyncio.to_thread(lambda: list(of_instance()))
            families += [item for item in [*counted, self._build()] if part in (None, _part_of(item))]
        if part in (None, "exporter"):
            # Names of projects are not for everybody who can reach the port.
            named = token is not None or _near(request)
            families += await self._overall()
            families += of_cluster(await self._figures.read(), named=named)
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(await asyncio.to_thread(encode, Collected(families)), media_type=kind)

    def _build(self) -> Metric:
        values = (__version__, platform.python_version(), self._dialect, self._settings.storage.driver)
        return gauge(
            "seawall_build_info",
            "Version of the instance, and its database and storage, in labels",
            {values: 1.0},
            ("version", "python", "database", "storage"),
        )

    async def _overall(self) -> list[Metric]:
        status, parts = await self._health.check()
        up: dict[tuple[str, ...], float] = {
            ("core",): 1.0,
            ("database",): float(parts.get("database") == "ok"),
            ("registry",): float(parts.get("storage") == "ok"),
            ("jobservice",): float("jobs" not in parts),
        }
        if "redis" in parts:
            up[("redis",)] = float(parts["redis"] == "ok")
        found = [
            gauge("harbor_health", "Whether every component works (1 or 0)", {(): float(all(up.values()))}),
            gauge("harbor_up", "Whether a component works", up, ("component",)),
            gauge(
                "seawall_ready",
                "State of the instance, as at /readyz: 1 for its state, 0 for the others",
                {(name,): float(name == status) for name in ("ok", "degraded", "draining", "failed")},
                ("status",),
            ),
        ]
        try:
            values = await self._configuration.all()
        except UnavailableError:
            return found
        info = (str(values["auth_mode"]), COMPATIBLE, str(bool(values["self_registration"])).lower())
        labels = ("auth_mode", "harbor_version", "self_registration")
        return [
            *found,
            gauge("harbor_system_info", "Properties of the system, in labels", {info: 1.0}, labels),
        ]


def metrics_routes(endpoint: MetricsEndpoint) -> list[BaseRoute]:
    """The route of `/metrics`."""
    return [Route("/metrics", endpoint.serve, methods=["GET"])]


def shows_token(authorization: str, token: str | None) -> bool:
    """Whether a header shows the token of `/metrics`, or none is asked for."""
    if token is None:
        return True
    kind, _, value = authorization.partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), token.encode())


def _near(request: Request) -> bool:
    """Whether the request comes from a private address, and through no proxy."""
    if request.scope.get("seawall.forwarded") or request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_private
    except ValueError:
        return False


def _part_of(family: Metric) -> str:
    if family.name.startswith("registry_"):
        return "registry"
    if family.name.startswith(("harbor_jobservice_", "seawall_job_", "seawall_jobs_")):
        return "jobservice"
    return "core"
