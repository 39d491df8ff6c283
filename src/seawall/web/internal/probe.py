"""The probe endpoint: `POST /_seawall/probe`, for instances that hold the cluster's key.

Questions and answers: `seawall.availability.cluster.probe`.
"""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from seawall.availability.cluster.probe import PATH, Probe


def probe_routes(answers: Probe) -> list[BaseRoute]:
    """The endpoint."""

    async def probe(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not answers.welcome(token.strip()):
            # The same to everybody else: nobody learns that this is here.
            return JSONResponse({"error": "not found"}, 404)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > 65536:
                return JSONResponse({"error": "too large"}, 413)
        try:
            question = json.loads(body or b"{}")
            if not isinstance(question, dict):
                raise ValueError
        except ValueError:
            return JSONResponse({"error": "not a JSON object"}, 400)
        return JSONResponse(await answers.answer(question), headers={"Cache-Control": "no-store"})

    return [Route(PATH, probe, methods=["POST"])]
