"""`/oauth/...`: how `seawall login` and other programs are let in by their user's browser.

Source: RFC 8628 (device flow), RFC 8252 and 7636 (code flow of native programs), RFC 6749 (answers), RFC 7009
(revocation), RFC 8414 (metadata). The user decides on a page of the portal (`/device`, `/oauth/authorize`),
which asks the routes of `seawall.web.harbor.logins`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seawall.access.login_requests import OAuthError
from seawall.access.logins import CLIENT_ID, DEVICE_SECONDS, WAIT_SECONDS, Given, Logins
from seawall.access.user_tokens import SCOPES
from seawall.infra.configuration import Configuration
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.web.oci.http import base_url

_FORM_BYTES = 16384
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Handler = Callable[[Request, dict[str, str], str], Awaitable[Response]]


class OAuthEndpoint:
    """The endpoints that programs ask."""

    def __init__(self, logins: Logins, configuration: Configuration, external_url: str | None) -> None:
        self._logins = logins
        self._configuration = configuration
        self._external_url = external_url

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route("/oauth/device_authorization", self._form(self._device), methods=["POST"]),
            Route("/oauth/token", self._form(self._token), methods=["POST"]),
            Route("/oauth/revoke", self._form(self._revoke), methods=["POST"]),
            Route("/.well-known/oauth-authorization-server", self._metadata, methods=["GET"]),
        ]

    def _base(self, request: Request) -> str:
        return base_url(self._external_url, request.headers, request.url.scheme)

    async def _metadata(self, request: Request) -> Response:
        base = self._base(request)
        return JSONResponse(
            {
                "issuer": base,
                "authorization_endpoint": f"{base}/oauth/authorize",
                "token_endpoint": f"{base}/oauth/token",
                "device_authorization_endpoint": f"{base}/oauth/device_authorization",
                "revocation_endpoint": f"{base}/oauth/revoke",
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token", _DEVICE],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
            }
        )

    async def _device(self, request: Request, form: dict[str, str], address: str) -> Response:
        scopes = tuple(form.get("scope", "").split()) or ("push", "api-read")
        device, user = await self._logins.begin_device(scopes, form.get("client_name", ""), address)
        # No verification_uri_complete: who approves must have the code from the device, not from a link.
        return _answer(
            {
                "device_code": device,
                "user_code": user,
                "verification_uri": f"{self._base(request)}/device",
                "expires_in": DEVICE_SECONDS,
                "interval": WAIT_SECONDS,
            }
        )

    async def _token(self, _request: Request, form: dict[str, str], address: str) -> Response:
        kind = form.get("grant_type")
        if kind == _DEVICE:
            return _given(await self._logins.poll(_needed(form, "device_code")))
        if kind == "authorization_code":
            code, verifier = _needed(form, "code"), _needed(form, "code_verifier")
            return _given(await self._logins.redeem(code, verifier, _needed(form, "redirect_uri")))
        if kind == "refresh_token":
            days = int(await self._configuration.get("personal_token_max_days"))
            return _given(await self._logins.renew(_needed(form, "refresh_token"), address, days))
        raise OAuthError(
            "unsupported_grant_type", f"grant_type must be authorization_code, refresh_token or {_DEVICE}"
        )

    async def _revoke(self, _request: Request, form: dict[str, str], _address: str) -> Response:
        await self._logins.end_login(_needed(form, "token"))
        return _answer({})

    def _form(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            address = request.client.host if request.client else ""
            try:
                form = await _read(request)
                if form.get("client_id") != CLIENT_ID:
                    raise OAuthError("invalid_client", f"client_id must be {CLIENT_ID}")
                return await handler(request, form, address)
            except OAuthError as error:
                return _error(error.code, str(error))
            except RegistryError as error:
                headers = {**_HEADERS, **error.headers}
                body = {"error": "slow_down", "error_description": error.message}
                return JSONResponse(body, error.status, headers=headers)
            except UnavailableError as error:
                body = {"error": "temporarily_unavailable", "error_description": str(error)}
                return JSONResponse(body, 503, headers={**_HEADERS, "Retry-After": "1"})

        return serve


def _answer(body: dict[str, object]) -> Response:
    return JSONResponse(body, headers=_HEADERS)


def _error(code: str, message: str) -> Response:
    status = 401 if code == "invalid_client" else 400
    return JSONResponse({"error": code, "error_description": message}, status, headers=_HEADERS)


def _given(login: Given) -> Response:
    return _answer(
        {
            "access_token": login.access,
            "token_type": "Bearer",
            "expires_in": login.seconds,
            "refresh_token": login.refresh,
            "scope": " ".join(login.scopes),
            # Whose name goes with the token in Basic.
            "username": login.username,
        }
    )


def _needed(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthError("invalid_request", f"{name} is missing")
    return form[name]


async def _read(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise OAuthError("invalid_request", "the form is too large")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise OAuthError("invalid_request", "the body is not a form") from None
    repeated = next((name for name, values in fields.items() if len(values) > 1), None)
    if repeated is not None:
        raise OAuthError("invalid_request", f"{repeated[:64]} is given more than once")
    if any("\0" in value for values in fields.values() for value in values):
        raise OAuthError("invalid_request", "a field has a NUL character")
    return {name: values[0] for name, values in fields.items()}
