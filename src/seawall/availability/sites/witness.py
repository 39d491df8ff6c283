"""The witness: a small lease service at a third place, which at most one site holds at a time.

It knows one lease: holder, epoch and length. A renewal is granted to the holder of the epoch, a take-over
only with a higher epoch and after the lease has run out by the witness's monotonic clock, counted from the
moment at which it last granted it. The holder counts from the moment *before* it asked, so it stops first,
whatever the clocks of the three say. What was granted is on disk before it is answered; after a restart the
lease counts as granted at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seawall.availability.sites.wire import PREFIX, Memory, Signer, received
from seawall.infra.private import check_writable, write_whole
from seawall.kernel.errors import ConfigError, ForbiddenError, SeawallError


@dataclass(frozen=True, slots=True)
class Grant:
    """What is on disk. `released`: its holder gave it back."""

    site: str
    epoch: int
    seconds: float
    released: bool = False


class Witness:
    """The state machine. `clock` is monotonic, in seconds; `save` returns when the grant is durable."""

    def __init__(
        self,
        grant: Grant | None,
        save: Callable[[Grant], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grant = grant
        self._save = save
        self._clock = clock
        self._at = clock()

    def left(self) -> float:
        """Seconds until the lease runs out; 0 when nobody holds it."""
        grant = self._grant
        if grant is None or grant.released:
            return 0.0
        return max(0.0, self._at + grant.seconds - self._clock())

    def renew(self, site: str, epoch: int, seconds: float) -> bool:
        """Whether `site` holds the lease of `epoch`, from now for `seconds`."""
        grant = self._grant
        if grant is None:
            self._give(Grant(site, epoch, seconds))
            return True
        if (grant.site, grant.epoch) != (site, epoch) or grant.released:
            return False
        if grant.seconds < seconds or grant.seconds > 4 * seconds:
            self._give(Grant(site, epoch, seconds))
        self._at = self._clock()
        return True

    def take(self, site: str, epoch: int, seconds: float) -> bool:
        """Whether `site` holds the lease of the new `epoch` from now on."""
        grant = self._grant
        if grant is not None and (grant.site, grant.epoch) == (site, epoch) and not grant.released:
            return self.renew(site, epoch, seconds)
        if grant is not None and (epoch <= grant.epoch or self.left() > 0):
            return False
        self._give(Grant(site, epoch, seconds))
        return True

    def release(self, site: str, epoch: int) -> bool:
        """The holder, which takes no writes any more, gives the lease back."""
        grant = self._grant
        if grant is None or (grant.site, grant.epoch) != (site, epoch):
            return False
        if not grant.released:
            self._give(Grant(site, epoch, grant.seconds, True))
        return True

    def told(self) -> dict[str, Any]:
        """Who holds it."""
        grant, left = self._grant, self.left()
        return {
            "held_by": grant.site if grant is not None and left > 0 else None,
            "epoch": grant.epoch if grant is not None else 0,
            "left": left,
        }

    def _give(self, grant: Grant) -> None:
        # The old lease runs until the new one is on disk; the new one counts from after that.
        self._save(grant)
        self._grant, self._at = grant, self._clock()


def open_witness(path: Path) -> Witness:
    """The witness whose grant is in the file `path`. Raises ConfigError when it cannot be read."""
    grant = None
    if path.exists():
        try:
            grant = Grant(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            raise ConfigError(f"{path} is not a witness's file") from None
    with contextlib.suppress(FileExistsError):  # the next line says more
        path.parent.mkdir(parents=True, exist_ok=True)
    # Now, and not when a site asks for the lease.
    check_writable(path)

    def save(value: Grant) -> None:
        write_whole(path, json.dumps(asdict(value)).encode())

    return Witness(grant, save)


def witness_app(witness: Witness, signer: Signer) -> Starlette:
    """The service: `renew`, `take`, `release` and `look`, and `/healthz`."""
    lock = asyncio.Lock()
    memory = Memory()

    async def serve(request: Request) -> Response:
        try:
            body = await received(request, signer, memory.is_new)
            async with lock:
                granted = _act(witness, request.path_params["verb"], body)
                return JSONResponse({"granted": granted, **witness.told()})
        except (KeyError, TypeError, ValueError):
            return JSONResponse({"error": "not a question to a witness"}, 409)
        except ForbiddenError as error:
            return JSONResponse({"error": str(error)}, 403)
        except SeawallError as error:
            return JSONResponse({"error": str(error)}, 409)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route(PREFIX + "/witness/{verb}", serve, methods=["POST"]),
        ]
    )


def _act(witness: Witness, verb: str, body: dict[str, Any]) -> bool:
    if verb == "look":
        return False
    site, epoch = str(body["site"]), int(body["epoch"])
    if verb == "release":
        return witness.release(site, epoch)
    seconds = min(600.0, max(0.5, float(body["seconds"])))
    if verb == "renew":
        return witness.renew(site, epoch, seconds)
    if verb == "take":
        return witness.take(site, epoch, seconds)
    raise ValueError(verb)
