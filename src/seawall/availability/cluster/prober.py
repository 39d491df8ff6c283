"""Asks the instances of a cluster for their probes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import httpx

from seawall.availability.cluster.probe import PATH, probe_token
from seawall.availability.cluster.report import CheckReport
from seawall.infra.ca import read_ca
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import NotFoundError

_PATIENCE = 15.0


_HOLD = 0.3


class Prober:
    """Sends probes."""

    def __init__(self, keys: KeyRing, settings: Settings) -> None:
        self._token = probe_token(keys)
        # By address, instances have no certificate that names it; the cluster's key tells them instead. The
        # proxy of the environment is for what is outside.
        self._direct = httpx.AsyncClient(verify=False, trust_env=False, timeout=_PATIENCE)  # noqa: S501
        context: Any = ssl.create_default_context()
        with contextlib.suppress(NotFoundError):
            context.load_verify_locations(cadata=read_ca(settings).decode())
        self._balanced_context = context

    async def __aenter__(self) -> Prober:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._direct.aclose()

    async def ask(self, address: str, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of the instance at `address`. Raises httpx.HTTPError, PermissionError."""
        return await self._post(self._direct, address, question)

    async def through(self, url: str) -> dict[str, Any]:
        """An instance's answer through the balancer, on a connection of its own."""
        async with httpx.AsyncClient(verify=self._balanced_context, timeout=_PATIENCE) as client:
            return await self._post(client, url, {"row": "-", "hold": _HOLD})

    async def _post(self, client: httpx.AsyncClient, url: str, question: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await client.post(url + PATH, json=question, headers=headers)
        if answer.status_code == 404:
            raise PermissionError
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


async def every(
    prober: Prober, report: CheckReport, questions: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The answers of the instances to a question each, by address; who does not answer is a fault."""

    async def one(address: str, question: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            return address, await prober.ask(address, question)
        except (httpx.HTTPError, PermissionError, ValueError) as error:
            report.fault(
                "unreachable",
                [address],
                f"{address} stopped answering: {type(error).__name__}",
                "read its log, then run the check again",
            )
            return address, {}

    return dict(await asyncio.gather(*(one(a, q) for a, q in questions.items())))
