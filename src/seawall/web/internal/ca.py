"""The balancer's CA certificate, for clients that must trust it (`ca_download`).

`/ca.crt` is the file, `/ca` a page that links it and says where each client wants it; Harbor's API has the
file at `/api/v2.0/systeminfo/getcert` (`read_ca`).
"""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, NotFoundError


def read_ca(settings: Settings) -> bytes:
    """The PEM of `ca_download`. Raises NotFoundError when not configured or not readable."""
    if settings.ca_download is None:
        raise NotFoundError("no CA certificate is offered (ca_download is not set)")
    try:
        return settings.ca_download.read_bytes()
    except OSError as error:
        raise NotFoundError(f"the CA certificate cannot be read: {error.strerror}") from None


def check_ca(path: Path) -> None:
    """Raise ConfigError unless the file holds certificates and nothing secret."""
    try:
        data = path.read_bytes()
        found = x509.load_pem_x509_certificates(data)
    except OSError as error:
        raise ConfigError(f"ca_download {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"ca_download {path}: not a PEM certificate") from None
    if not found or b"PRIVATE KEY" in data:
        raise ConfigError(f"ca_download {path}: must hold certificates only")


def ca_routes(settings: Settings) -> list[BaseRoute]:
    """The file and its page. Raises ConfigError for a wrong file; 404 at both when none is configured."""
    if settings.ca_download is not None:
        check_ca(settings.ca_download)

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
        if settings.ca_download is None:
            return PlainTextResponse("no CA certificate is offered (ca_download is not set)\n", 404)
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
