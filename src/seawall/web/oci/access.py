"""Who may do what at the registry API and at Notary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection

from seawall.access.access import may_system
from seawall.features.replication.origin import parse_header
from seawall.infra.configuration import Configuration
from seawall.kernel.context import actor
from seawall.kernel.errors import RegistryError
from seawall.registry.protocol import Visible
from seawall.web.caller import Caller, Callers, CredentialsError
from seawall.web.oci.http import Request, base_url
from seawall.web.oci.naming import Naming

log: Any = structlog.get_logger("seawall.oci")

_CATALOG = "registry:catalog:*"


class RegistryAccess:
    """Lets requests in, or refuses them with the challenge that Docker's clients expect."""

    def __init__(
        self, callers: Callers, external_url: str | None, configuration: Configuration, mirror: Naming
    ) -> None:
        """`external_url`: the address clients see, None for the one a request was sent to."""
        self._callers = callers
        self._mirror = mirror
        self._external_url = external_url
        self._configuration = configuration

    def base_url(self, request: Request) -> str:
        """The address clients see: `external_url`, else what this request was sent to.

        At a host alias it is the alias: clients ask the token endpoint for the name that they know, and only
        there that name means what it means here.
        """
        usual = self._external_url
        host = request.headers.get("host", "")
        if usual and self._mirror.alias(host) is not None:
            scheme, _, rest = usual.partition("://")
            usual = f"{scheme}://{self._mirror.alias_host(host, rest)}"
        return base_url(usual, request.headers, request.scope.get("scheme", "http"))

    async def authorize(self, request: Request, name: str, action: str, *, source: str | None = None) -> None:
        """Raise RegistryError unless the caller may do `action` (pull, push, delete) to repository `name`.

        `source`: the repository that a blob is mounted from. A challenge names it, so that the client gets
        one token for both; a user who may not pull from it uploads.
        """
        # Most requests are let in, and need no words for what they lack.
        caller = request.caller = await self._caller(request, lambda: _wanted(name, action, source))
        if not caller.unrestricted and not await self._allows(caller, name, action):
            wanted = _wanted(name, action, source)
            # Harbor's words.
            refusal = f"unauthorized to access repository: {name}, action: {action}"
            if caller.principal.known:
                raise RegistryError("DENIED", refusal)
            # A token without the access gets a challenge too: the client asks for a better token, and the
            # refusal is final only when that one lacks the access as well.
            message = refusal if caller.grant and caller.grant.subject else None
            raise self._challenge(request, wanted, "insufficient_scope" if caller.grant else None, message)
        # After the decision: a caller who may not write gets the same answer in every mode.
        if action != "pull" and await self._configuration.get("read_only"):
            raise RegistryError("DENIED", "the registry is in read only mode")
        origin = request.headers.get("seawall-replication") if action != "pull" else None
        if origin is not None:
            passed, pushed_at = parse_header(origin, time.time())
            if pushed_at is not None and not await self._may_replicate(caller):
                # A tag's time decides what retention keeps and which of two pushes stays.
                pushed_at = None
            actor.set(replace(actor.get(), passed=passed, pushed_at=pushed_at))

    async def _may_replicate(self, caller: Caller) -> bool:
        """Whether the caller says truly when a tag was pushed: administrators, and robots that replicate."""
        principal = caller.principal
        if caller.grant is not None:
            found = await self._callers.auth.user(caller.grant.subject) if caller.grant.subject else None
            if found is None:
                return False
            principal = found
        return may_system(principal, "replication", "create")

    async def may_pull(self, request: Request, name: str) -> bool:
        """Whether the caller of an authorized request may also pull from repository `name`."""
        assert request.caller is not None
        return await self._allows(request.caller, name, "pull")

    def better_token(self, request: Request, name: str) -> RegistryError | None:
        """The challenge for a caller nobody knows, who may get more of repository `name` as somebody.

        None for a known caller. To be called after `authorize`.
        """
        caller = request.caller
        assert caller is not None
        if caller.unrestricted or caller.principal.known or (caller.grant and caller.grant.subject):
            return None
        return self._challenge(
            request, f"repository:{name}:pull", "insufficient_scope" if caller.grant else None
        )

    async def authorize_base(self, request: Request) -> None:
        """Raise RegistryError unless the caller is known (or nobody needs to be)."""
        caller = await self._caller(request, lambda: None)
        if caller.grant is None and not caller.unrestricted and not caller.principal.known:
            raise self._challenge(request, None, None)

    async def authorize_catalog(self, request: Request) -> None:
        """Raise RegistryError unless the caller is a system administrator."""
        principal = await self._catalog_caller(request)
        if not principal.principal.sysadmin:
            raise RegistryError("DENIED")

    async def visible(self, request: Request) -> Visible:
        """The projects whose repositories the caller sees in the catalog. Raises RegistryError."""
        caller = await self._catalog_caller(request)
        if caller.unrestricted:
            return _everything
        return self._callers.auth.visible_projects(caller.principal)

    async def _catalog_caller(self, request: Request) -> Caller:
        """The caller, whose token (if it has one) is for the catalog. Raises 401 for an anonymous one."""
        caller = await self._caller(request, lambda: _CATALOG)
        if caller.grant is not None:
            if not caller.grant.allows("registry", "catalog", "*"):
                raise self._challenge(request, _CATALOG, "insufficient_scope")
            user = await self._callers.auth.user(caller.grant.subject)
            if user is None:
                raise self._challenge(request, _CATALOG, None)
            return Caller(user)
        if not caller.unrestricted and not caller.principal.known:
            raise self._challenge(request, _CATALOG, None)
        limits = caller.principal.limits
        if limits is not None and not limits.reads_api():
            # As the token endpoint has it: the catalog shows names, which pulling does not take.
            raise RegistryError("DENIED", "the token lacks the scope api-read")
        return caller

    async def _caller(self, request: Request, scope: Callable[[], str | None]) -> Caller:
        """Who calls; `scope` gives that of the token which a challenge asks for. Raises RegistryError."""
        header, agent = request.headers.get("authorization"), request.headers.get("user-agent", "")
        try:
            return await self._callers.of_registry(header, request.address, agent)
        except CredentialsError as error:
            invalid = "invalid_token" if error.bearer or error.malformed else None
            if error.reason is not None:
                # Two registries behind one address look like this, and so do clocks that are wrong.
                log.warning("token refused", reason=error.reason, path=request.scope["path"])
            wanted = scope() if error.bearer else None
            raise self._challenge(request, wanted, invalid, error.reason) from None

    async def _allows(self, caller: Caller, name: str, action: str) -> bool:
        if caller.unrestricted:
            return True
        if caller.grant is not None:
            if not caller.grant.allows("repository", name, action):
                return False
            since = caller.grant.since.get(("repository", name), 0.0)
            project = name.partition("/")[0]
            return await self._callers.auth.is_older(project, since, fresh=action != "pull")
        known = caller.principal if caller.principal.known else None
        return action in await self._callers.auth.actions(known, name)

    def _challenge(
        self, request: Request, scope: str | None, error: str | None, reason: str | None = None
    ) -> RegistryError:
        value = (
            f'Bearer realm="{self.base_url(request)}/service/token",service="{self._callers.tokens.service}"'
        )
        if scope:
            value += f',scope="{scope}"'
        if error:
            value += f',error="{error}"'
        if error and reason:
            # Docker shows this in place of the body. Harbor says it twice, and scripts look for that.
            value += f',error_description="{reason}: {reason}"'
        return RegistryError("UNAUTHORIZED", reason, headers={"WWW-Authenticate": value})


def _wanted(name: str, action: str, source: str | None) -> str:
    """The scope of a token for `action` in repository `name`, with one that a blob is mounted from."""
    wanted = f"repository:{name}:{'pull,push' if action == 'push' else action}"
    if source is not None and source != name:
        wanted += f" repository:{source}:pull"
    return wanted


def _everything(_connection: Connection) -> None:
    return None
