"""Who is calling: answered once, for the registry API, the token endpoint, Notary and Harbor's API.

The interfaces differ in what they take (a token of this registry, one of the OIDC provider, a session) and in
how they refuse, so each catches CredentialsError and answers it in its own format.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from seawall.access.oidc import OidcService
from seawall.access.principal import ANONYMOUS, EVERYONE, EndedError, Principal
from seawall.access.service import AuthService
from seawall.access.tokens import Grant, TokenService
from seawall.access.user_tokens import TokenLogins
from seawall.infra.ratelimit import RateLimiter
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import SeawallError


class CredentialsError(SeawallError):
    """The credentials are not right. `bearer`: they are a token; `malformed`: not even well formed.

    `reason` says why a token of this registry is not taken, for the client and the operator.
    """

    def __init__(self, *, bearer: bool = False, malformed: bool = False, reason: str | None = None) -> None:
        # The first two words are what docker makes of Harbor's answer, and what scripts look for.
        super().__init__(reason or "authentication required: wrong user name or password")
        self.bearer = bearer
        self.malformed = malformed
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. With a token of this registry, `grant` is what it allows, and `principal` is anonymous."""

    principal: Principal
    grant: Grant | None = None

    @property
    def unrestricted(self) -> bool:
        """Whether this registry works without authentication, so that everyone may do everything."""
        return self.principal is EVERYONE


# Where nobody is asked who they are.
EVERY_CALLER = Caller(EVERYONE)


class Callers:
    """Identifies callers, counts their requests towards their rates, and sets the `actor` of what follows."""

    def __init__(
        self,
        auth: AuthService,
        tokens: TokenService,
        oidc: OidcService,
        rates: RateLimiter,
        user_tokens: TokenLogins,
    ) -> None:
        self.auth = auth
        self.tokens = tokens
        self._user_tokens = user_tokens
        self._oidc = oidc
        self._rates = rates

    async def by_password(self, username: str, password: str, address: str) -> Principal:
        """A user or robot account by its password, or a user by a token of its own.

        Raises CredentialsError, TOOMANYREQUESTS.
        """
        # PostgreSQL cannot be asked for a name with a NUL.
        found = None
        if "\0" not in username:
            if self._user_tokens.takes(password):
                return await self._by_token(username, password, address)
            try:
                found = await self.auth.authenticate(username, password, address)
            except EndedError as error:
                raise CredentialsError(reason=str(error)) from None
        if found is None:
            raise CredentialsError
        reason = await self.auth.password_is_not_enough(found)
        if reason is not None:
            raise CredentialsError(reason=reason)
        await self._rates.check_user(found.name, address)
        return found

    async def _by_token(self, username: str | None, token: str, address: str) -> Principal:
        """A user by a token of its own; without a name, as a bearer token."""
        bearer = username is None
        try:
            found = await self._user_tokens.admit(username, token, address)
        except EndedError as error:
            raise CredentialsError(bearer=bearer, reason=str(error)) from None
        if found is None:
            raise CredentialsError(bearer=bearer)
        await self._rates.check_user(found.name, address)
        return replace(found, via="bearer") if bearer else found

    async def by_exchange(self, robot: str, token: str, address: str) -> Principal:
        """A robot account by a token of an issuer that it trusts.

        Raises TokenRefusedError, UnavailableError (the issuer cannot be asked), TOOMANYREQUESTS.
        """
        found = await self.auth.exchange(robot, token, address)
        await self._rates.check_user(found.name, address)
        return found

    async def by_basic(self, header: str, address: str) -> Principal:
        """A user or robot account by an Authorization header. Raises CredentialsError, TOOMANYREQUESTS."""
        credentials = basic_credentials(header)
        if credentials is None:
            raise CredentialsError(malformed=True)
        return await self.by_password(*credentials, address)

    async def of_registry(self, header: str | None, address: str, agent: str) -> Caller:
        """The caller of the registry API or Notary: a token of this registry, or Basic credentials.

        `header`: Authorization, None without one. Raises CredentialsError, TOOMANYREQUESTS.
        """
        if not self.auth.required:
            return EVERY_CALLER
        token = _bearer(header)
        if token is not None:
            grant = self.tokens.verify(token)
            if grant is None:
                raise CredentialsError(bearer=True, reason=self.tokens.refusal(token))
            await self._rates.check_user(grant.subject, address)
            caller, name = Caller(ANONYMOUS, grant), grant.subject
        else:
            principal = ANONYMOUS if header is None else await self.by_basic(header, address)
            caller, name = Caller(principal), principal.name
        actor.set(Actor(name, address, agent[:255]))
        return caller

    async def of_api(
        self, header: str | None, address: str, session: Callable[[], Awaitable[Principal | None]]
    ) -> Principal:
        """The caller of Harbor's API: Basic credentials, a bearer token, or a session.

        The token is the OIDC provider's or a user's own.

        `session` gives the user of the request's session. Raises CredentialsError, TOOMANYREQUESTS.
        """
        principal = await self._api_principal(header, address, session)
        actor.set(Actor(principal.name, address))
        if principal.via != "basic":
            await self._rates.check_user(principal.name, address)
        return principal

    async def _api_principal(
        self, header: str | None, address: str, session: Callable[[], Awaitable[Principal | None]]
    ) -> Principal:
        if not self.auth.required:
            return EVERYONE
        if header is None:
            return await session() or ANONYMOUS
        token = _bearer(header)
        if token is None:
            return await self.by_basic(header, address)
        if self._user_tokens.takes(token):
            return await self._by_token(None, token, address)
        found = await self._oidc.bearer(token)
        if found is None:
            raise CredentialsError(bearer=True)
        return found


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User and password of an RFC 7617 header, None when it is not one."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if separator and "\0" not in user + password else None


def _bearer(header: str | None) -> str | None:
    return header[7:].strip() if header is not None and header[:7].lower() == "bearer " else None
