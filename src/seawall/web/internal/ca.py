"""The balancer's CA certificate, for clients that must trust it (`ca_download`).

`/ca.crt` is the file, `/ca` a page that links it and says where each client wants it; Harbor's API has the
file at `/api/v2.0/systeminfo/getcert`.
"""

from __future__ import annotations

import html
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from seawall.infra.ca import read_ca
from seawall.infra.settings import Settings
from seawall.kernel.errors import NotFoundError


def ca_routes(settings: Settings) -> list[BaseRoute]:
    """The certificate and its page; 404 at both while there is none."""

    def crt(_request: Request) -> Response:
        try:
            data = read_ca(settings)
        except NotFoundError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return Response(
            data,
            media_type="application/x-x509-ca-cert",
            headers={"Content-Disposition": 'attachment; filename="ca.crt"'},
        )

    def page(request: Request) -> Response:
        try:
            read_ca(settings)
        except NotFoundError as error:
            return PlainTextResponse(f"{error}\n", 404)
        host = html.escape(urlsplit(settings.external_url or str(request.base_url)).netloc)
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><title>CA certificate</title>"
            '<p><a href="/ca.crt" download>Download the CA certificate of this registry</a></p>'
            f"<p>Docker, containerd, podman: save it as <code>/etc/docker/certs.d/{host}/ca.crt</code>, "
            f"<code>/etc/containerd/certs.d/{host}/ca.crt</code> or "
            f"<code>/etc/containers/certs.d/{host}/ca.crt</code>.</p>",
            headers={"Content-Security-Policy": "default-src 'none'"},
        )

    return [Route("/ca.crt", crt), Route("/ca", page)]
