"""`/service/token`: Docker's token endpoint (GET), its OAuth2 form and token exchange (POST).

Source: CNCF Distribution "Token Authentication Specification" and "OAuth2 Token Specification"; RFC 8693.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seawall.access.federation import TokenRefusedError
from seawall.access.principal import Principal
from seawall.access.service import AuthService
from seawall.access.tokens import Scope, TokenService, parse_scopes
from seawall.infra.configuration import Configuration
from seawall.infra.telemetry import Counter
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.registry.virtual import VirtualProjects
from seawall.web.caller import Callers, CredentialsError
from seawall.web.oci.http import base_url, without_host
from seawall.web.oci.naming import Naming

# What Harbor calls its registry: scripts that ask its token endpoint have the name in them.
HARBOR_SERVICE = "harbor-registry"
_FORM_BYTES = 65536
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_SUBJECT_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
# How long a token lives that was given for another one.
_EXCHANGED_SECONDS = 15 * 60
TOKENS = Counter(
    "seawall_tokens_total",
    "Requests for a token, by result",
    ["result"],
    known=[("issued",), ("refused",), ("unavailable",)],
)


class TokenEndpoint:
    """Gives out bearer tokens holding the part of the requested scopes that the caller may have."""

    def __init__(
        self,
        callers: Callers,
        auth: AuthService,
        tokens: TokenService,
        external_url: str | None,
        configuration: Configuration,
        mirror: Naming,
        virtual: VirtualProjects,
    ) -> None:
        self._callers = callers
        self._virtual = virtual
        self._mirror = mirror
        self._auth = auth
        self._configuration = configuration
        self._tokens = tokens
        self._external_url = external_url

    async def serve(self, request: Request) -> Response:
        """Starlette endpoint."""
        try:
            answer = await self._answer(request)
            TOKENS.inc("issued")
            return answer
        except RegistryError as error:
            TOKENS.inc("refused")
            body = {"errors": [{"code": error.code, "message": error.message}]}
            return JSONResponse(body, error.status, headers=error.headers)
        except CredentialsError as error:
            TOKENS.inc("refused")
            body = {"errors": [{"code": "UNAUTHORIZED", "message": str(error)}]}
            return JSONResponse(body, 401, headers={"WWW-Authenticate": 'Basic realm="seawall"'})
        except UnavailableError as error:
            TOKENS.inc("unavailable")
            body = {"errors": [{"code": "UNAVAILABLE", "message": str(error)}]}
            return JSONResponse(body, 503, headers={"Retry-After": "1"})

    async def _answer(self, request: Request) -> Response:
        client = request.client.host if request.client else ""
        user: Principal | None = None
        form = request.method == "POST"
        if form:
            form_data = await _form(request)
            fields = {key: values[-1] for key, values in form_data.items()}
            if fields.get("grant_type") == _EXCHANGE:
                return await self._exchanged(request, form_data, client)
            if fields.get("grant_type") != "password":
                raise RegistryError("UNSUPPORTED", f"grant_type must be password, or {_EXCHANGE}", status=400)
            service, scopes = fields.get("service"), form_data.get("scope", [])
            self._check_service(service)
            credentials = fields.get("username", ""), fields.get("password", "")
            user = await self._callers.by_password(*credentials, client)
        else:
            service, scopes = request.query_params.get("service"), request.query_params.getlist("scope")
            self._check_service(service)
            header = request.headers.get("authorization")
            if header is not None:
                user = await self._callers.by_basic(header, client)
        granted = await self._granted(request, user, scopes)
        lifetime = int(await self._configuration.get("token_expiration")) * 60
        if user is not None and user.limits is not None:
            # Not longer than the user's token that was shown for it.
            lifetime = max(1, min(lifetime, int(user.expires_at - time.time())))
        token, issued = self._tokens.issue(user.name if user else "", granted, lifetime)
        body: dict[str, object] = {
            "token": token,
            "access_token": token,
            "expires_in": lifetime,
            "issued_at": datetime.datetime.fromtimestamp(issued, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if form:
            body["scope"] = _written(granted)
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _exchanged(self, request: Request, form: dict[str, list[str]], client: str) -> Response:
        """Give a token of minutes for a token of an issuer that the robot `client_id` trusts (RFC 8693)."""
        try:
            repeated = [name for name, values in form.items() if len(values) > 1 and name != "scope"]
            if repeated:
                raise _FormError(f"{repeated[0][:64]} is given more than once")
            fields = {key: values[-1] for key, values in form.items()}
            for name in ("client_id", "subject_token", "subject_token_type"):
                if not fields.get(name):
                    raise _FormError(f"{name} is missing")
            if "\0" in fields["client_id"]:
                raise _FormError("client_id has a NUL character")
            if fields["subject_token_type"] not in _SUBJECT_TYPES:
                raise _FormError(f"subject_token_type must be one of {', '.join(_SUBJECT_TYPES)}")
            if fields.get("requested_token_type", _ACCESS_TOKEN) != _ACCESS_TOKEN:
                raise _FormError(f"requested_token_type must be {_ACCESS_TOKEN}")
            if "actor_token" in fields:
                raise _FormError("actor_token is not supported")
            service = fields.get("service") or fields.get("audience")
            if service and service not in (self._tokens.service, HARBOR_SERVICE):
                return _oauth_error(400, "invalid_target", f"the service here is {self._tokens.service}")
            user = await self._callers.by_exchange(fields["client_id"], fields["subject_token"], client)
        except _FormError as error:
            return _oauth_error(400, "invalid_request", str(error))
        except TokenRefusedError as error:
            return _oauth_error(401, "invalid_grant", str(error))
        except UnavailableError as error:
            # The issuer, or the database, does not answer: the token may be good.
            return _oauth_error(503, "temporarily_unavailable", str(error))
        granted = await self._granted(request, user, form.get("scope", []))
        lifetime = min(int(await self._configuration.get("token_expiration")) * 60, _EXCHANGED_SECONDS)
        if user.expires_at != -1:
            # Not longer than the robot.
            lifetime = max(1, min(lifetime, int(user.expires_at - time.time())))
        token, _ = self._tokens.issue(user.name, granted, lifetime)
        body = {
            "access_token": token,
            "token": token,
            "issued_token_type": _ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": _written(granted),
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _granted(self, request: Request, user: Principal | None, scopes: list[str]) -> list[Scope]:
        """The part of the scopes that the caller may have."""
        base = base_url(self._external_url, request.headers, request.url.scheme)
        host = request.headers.get("host", "")
        wanted = [await self._pulled(await self._here(item, base, host)) for item in parse_scopes(scopes)]
        # What is pulled from a virtual project is pulled from one of its members, with the rights there.
        behind = [scope for item in wanted for scope in await self._behind(item)]
        granted = await self._auth.grant(user, wanted + behind)
        count = len(wanted)
        return granted[:count] + [scope for scope in granted[count:] if scope.actions]

    async def _pulled(self, scope: Scope) -> Scope:
        """The scope without what a virtual project does not do: one pulls from it, and that is all."""
        if scope.type != "repository" or await self._virtual.of(scope.name.partition("/")[0]) is None:
            return scope
        return replace(scope, actions=frozenset({"pull"} if scope.actions & {"pull", "*"} else ()))

    async def _behind(self, scope: Scope) -> list[Scope]:
        if scope.type != "repository" or not scope.actions & {"pull", "*"}:
            return []
        project, _, path = scope.name.partition("/")
        virtual = await self._virtual.of(project)
        members = virtual.members if virtual is not None else ()
        return [Scope("repository", f"{member}/{path}", frozenset({"pull"})) for member in members]

    async def _here(self, scope: Scope, base: str, host: str) -> Scope:
        """The scope with the name that its repository has here, whatever clients of a host alias call it."""
        name = without_host(scope.name, base)
        if scope.type == "repository":
            name = await self._mirror.repository(name, host, [])
        return replace(scope, name=name)

    def _check_service(self, service: str | None) -> None:
        if service and service not in (self._tokens.service, HARBOR_SERVICE):
            raise RegistryError("UNSUPPORTED", "unknown service", status=400)


class _FormError(Exception):
    """A field of a token exchange is wrong; the message says which."""


def _written(scopes: list[Scope]) -> str:
    return " ".join(f"{item.type}:{item.name}:{','.join(sorted(item.actions))}" for item in scopes)


def _oauth_error(status: int, code: str, message: str) -> Response:
    """An error as RFC 6749 5.2 has it, and as the other answers of this endpoint do."""
    name = {401: "UNAUTHORIZED", 503: "UNAVAILABLE"}.get(status, "UNSUPPORTED")
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if status == 503 else {})
    body = {"error": code, "error_description": message, "errors": [{"code": name, "message": message}]}
    return JSONResponse(body, status, headers=headers)


async def _form(request: Request) -> dict[str, list[str]]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise RegistryError("UNSUPPORTED", "form is too large", status=413)
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise RegistryError("UNSUPPORTED", "body is not a form", status=400) from None
