"""Sign-in through OpenID providers: the one of `auth_mode: oidc_auth`, and further sources.

Authorization code flow with PKCE (RFC 7636), state and nonce; ID tokens are checked as OpenID Connect Core
1.0, 3.1.3.7 asks. What must outlive the redirect is in a sealed cookie of the browser, so any instance may
serve the callback. The cookie names the source of the sign-in, and each source has a callback address of
its own, so no provider gets the code of another (RFC 9207, RFC 9700 4.4). A user is known by source, issuer
and subject, never by name or mail address, which the provider
may give to somebody else later.

Programs cannot be redirected: a user's CLI secret stands for the password in Basic and docker login. When
the provider gave a refresh token, it is used now and then, so a user that the provider has shut out is out
here too.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import structlog
from sqlalchemy import Connection, insert, select, update

from seawall.access import identities, members, users
from seawall.access.accounts import check_free, check_not_reserved, check_username
from seawall.access.arrivals import admit
from seawall.access.identities import DEFAULT
from seawall.access.oidc_provider import (
    Identity,
    OidcSettings,
    ProviderError,
    Providers,
    identity_of,
    issuer_of,
    userinfo,
)
from seawall.access.principal import Principal
from seawall.access.principals import principal_of
from seawall.access.robots import new_secret
from seawall.access.sources import OIDC, Source, Sources
from seawall.access.tables import oidc_users
from seawall.access.tables import users as users_table
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConfigError, ForbiddenError, InvalidError, StandbyError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from authlib.integrations.base_client import errors as client_errors
    from authlib.oauth2.rfc6749 import errors as oauth_errors
else:
    client_errors = optional("authlib.integrations.base_client.errors")
    oauth_errors = optional("authlib.oauth2.rfc6749.errors")

log: Any = structlog.get_logger("seawall.oidc")
# How often at most a CLI secret's owner is asked for at the provider.
_RECHECK_SECONDS = 300
_LOGIN_SECONDS = 600


class OidcService:
    """Talks to the configured providers."""

    def __init__(self, db: Database, sources: Sources, keys: KeyRing) -> None:
        self._db = db
        self._sources = sources
        self._keys = keys
        self._asked = Providers()
        self._checked: dict[int, float] = {}

    async def enabled(self, name: str = DEFAULT) -> bool:
        """Whether users sign in through the source of that name, by default the configuration's."""
        return await self._sources.usable(name, OIDC) is not None

    async def providers(self) -> list[Source]:
        """The sources by which users sign in, in order."""
        return await self._sources.enabled(OIDC)

    async def settings(self, name: str = DEFAULT) -> OidcSettings:
        """A provider as configured. Raises ForbiddenError when there is none of that name any more."""
        source = await self._sources.usable(name, OIDC)
        if source is None and name == DEFAULT:
            source = await self._sources.default(OIDC)
        if source is None:
            raise ForbiddenError("the source of the sign-in is gone, or switched off")
        return _settings(source)

    async def issuer_of(self, source: Source) -> str:
        """The issuer as the source's ID tokens name it. Raises ProviderError."""
        settings = _settings(source)
        return str((await self._asked.metadata(settings.endpoint, settings.verify_cert))["issuer"])

    # -- what survives the redirect ------------------------------------------------------------------

    def seal(self, purpose: str, data: dict[str, Any]) -> str:
        """`data` for a cookie that only this cluster can read, good for ten minutes."""
        plain = json.dumps({**data, "until": time.time() + _LOGIN_SECONDS}).encode()
        return base64.urlsafe_b64encode(self._keys.encrypt(purpose, plain).encode()).decode().rstrip("=")

    def unseal(self, purpose: str, cookie: str | None) -> dict[str, Any]:
        """Reverse of `seal`. Raises ForbiddenError when it is not ours or too old."""
        try:
            text = base64.urlsafe_b64decode((cookie or "").encode() + b"===").decode()
            data: dict[str, Any] = json.loads(self._keys.decrypt(purpose, text))
        except (ValueError, ConfigError):
            data = {}
        if data.get("until", 0) < time.time():
            raise ForbiddenError("the sign-in was not begun in this browser, or too long ago; try again")
        return data

    # -- the flow ------------------------------------------------------------------------------------

    async def begin(self, callback: str, target: str, source: str = DEFAULT) -> tuple[str, str]:
        """(address to send the browser to, sealed cookie). `target`: path to end up at."""
        settings = await self.settings(source)
        metadata = await self._asked.metadata(settings.endpoint, settings.verify_cert)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        async with self._asked.client(settings, callback) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                nonce=nonce,
                code_verifier=verifier,
                **json.loads(settings.extra_redirect_parms or "{}"),
            )
        data = {"state": state, "nonce": nonce, "verifier": verifier, "target": target, "source": source}
        return url, self.seal("oidc-login", data)

    async def finish(
        self, callback: str, code: str, begun: dict[str, Any], issuer: str | None = None
    ) -> Identity:
        """Exchange the code and check what comes back. Raises ProviderError, ForbiddenError.

        `issuer`: who says that the code is his (RFC 9207), None where nobody does.
        """
        name = str(begun.get("source", DEFAULT))
        settings = await self.settings(name)
        metadata = await self._asked.metadata(settings.endpoint, settings.verify_cert)
        # Before the code goes anywhere: it may be another provider's.
        if issuer is None:
            if metadata.get("authorization_response_iss_parameter_supported") is True:
                raise ProviderError("the provider's answer does not say whose it is")
        elif issuer != metadata["issuer"]:
            raise ProviderError("the answer is of another provider than the one that was asked")
        try:
            async with self._asked.client(settings, callback) as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"],
                    code=code,
                    code_verifier=begun["verifier"],
                    grant_type="authorization_code",
                )
                claims = await self._asked.claims(
                    settings, metadata, str(token.get("id_token", "")), begun["nonce"]
                )
                info = await userinfo(client, metadata, claims)
        except (client_errors.OAuthError, oauth_errors.OAuth2Error) as error:
            raise ProviderError(f"the provider refused the code: {error.error or 'error'}") from None
        except httpx.HTTPError as error:
            raise ProviderError(f"the provider cannot be reached: {type(error).__name__}") from None
        refresh = token.get("refresh_token")
        held = {"refresh_token": refresh, "at": time.time(), "source": name} if refresh else None
        return replace(await self._of(name, settings, {**info, **claims}), token=held)

    async def _of(self, name: str, settings: OidcSettings, claims: dict[str, Any]) -> Identity:
        """The identity of the claims, called as users of the source are called here."""
        identity = identity_of(settings, claims)
        source = await self._sources.usable(name, OIDC)
        prefix = source.prefix if source is not None else ""
        username = f"{prefix}{identity.username}" if identity.username else ""
        return replace(identity, source=name, prefix=prefix, username=username)

    # -- users ---------------------------------------------------------------------------------------

    async def arrive(
        self, identity: Identity, *, onboard_as: str | None = None, also: Also = nothing
    ) -> Principal | None:
        """The identity's user here, brought up to date; None when there is none and none is to be made.

        `onboard_as` names the user to be made. Raises InvalidError or ConflictError for that name: an
        account that exists is never taken over by name. Raises ForbiddenError once the source is gone.
        """
        sealed_secret = self._keys.encrypt("cli-secret", new_secret().encode())
        token = json.dumps(identity.token) if identity.token else None
        sealed_token = self._keys.encrypt("oidc-token", token.encode()) if token else None

        known_as = (identity.source, identity.issuer, identity.subject)

        def refresh_user(connection: Connection) -> Principal | None:
            identities.require_enabled(connection, identity.source)
            user_id = identities.find(connection, *known_as)
            if user_id is None:
                if onboard_as is None:
                    return None
                user_id = self._make(connection, identity, onboard_as)
            identities.add(connection, user_id, *known_as, made=True)
            now = time.time()
            mine = oidc_users.c.user_id == user_id
            if connection.execute(select(oidc_users.c.user_id).where(mine)).first() is None:
                connection.execute(
                    insert(oidc_users).values(
                        user_id=user_id,
                        issuer=identities.stored_issuer(identity.source, identity.issuer),
                        subject=identity.subject,
                        secret=sealed_secret,
                        created_at=now,
                        updated_at=now,
                    )
                )
            connection.execute(update(oidc_users).where(mine).values(token=sealed_token, updated_at=now))
            groups = [(name, "") for name in identity.groups]
            members.arrive(connection, user_id, identity.source, members.OIDC, groups)
            return principal_of(connection, users_table.c.id == user_id)

        def look(connection: Connection) -> Principal | None:
            return _known(connection, *known_as)

        try:
            principal = await admit(self._db, refresh_user, also=also)
        except StandbyError:
            # Users and their groups are as the active site last saw them; nobody new is made.
            principal = await self._db.read(look)
            if principal is None:
                raise
        if principal is not None and identity.admin:
            return replace(principal, sysadmin=True)
        return principal

    @staticmethod
    def _make(connection: Connection, identity: Identity, username: str) -> int:
        check_username(username)
        if not username.startswith(identity.prefix) or username == identity.prefix:
            raise InvalidError(f"names of this source's users begin with {identity.prefix}")
        check_not_reserved(connection, username, identity.prefix)
        if identity.source:
            # One that only looks like another's would pass for it.
            check_free(connection, username)
        email = identity.email
        taken = select(users_table.c.id).where(users_table.c.email == email)
        if email and connection.execute(taken).first():
            email = ""
        try:
            return users.create(connection, username, None, email=email, realname=identity.realname)
        except InvalidError:
            # Providers have names and addresses that ours may not have.
            return users.create(connection, username, None)

    async def bearer(self, token: str) -> Principal | None:
        """The user of an ID token given as a bearer token; None when it is not good or not onboarded."""
        issuer = issuer_of(token)
        for source in await self.providers():
            settings = _settings(source)
            if settings.endpoint.rstrip("/") != issuer:
                continue
            try:
                metadata = await self._asked.metadata(settings.endpoint, settings.verify_cert)
                claims = await self._asked.claims(settings, metadata, token, None)
            except (ProviderError, httpx.HTTPError):
                continue
            identity = await self._of(source.name, settings, claims)
            known_as = (source.name, identity.issuer, identity.subject)
            principal = await self._db.point(lambda c, known_as=known_as: _known(c, *known_as))  # type: ignore[misc]
            if principal is None:
                continue
            if identity.admin:
                principal = replace(principal, sysadmin=True)
            return replace(principal, via="bearer")
        return None

    async def still_valid(self, user_id: int) -> bool:
        """Whether the provider still lets the user in, as far as its refresh token tells.

        Asked every five minutes at most. Without a refresh token, or while the provider is away, the
        answer is yes: pulls must not stop because the provider restarts.
        """
        links = await self._db.point(lambda c: identities.of_user(c, user_id))
        usable = {source.name: source for source in await self.providers()}
        if not any(item.issuer and item.source in usable for item in links):
            return False
        if self._checked.get(user_id, 0) > time.monotonic():
            return True
        sealed = await self._db.point(
            lambda c: c.execute(select(oidc_users.c.token).where(oidc_users.c.user_id == user_id)).scalar()
        )
        if not sealed:
            return True
        held = json.loads(self._keys.decrypt("oidc-token", sealed))
        source = usable.get(held.get("source", DEFAULT))
        if source is None:
            # The provider that gave it is gone; another one of the user's is there.
            return True
        if held["at"] + _RECHECK_SECONDS > time.time():
            return True
        settings = _settings(source)
        try:
            metadata = await self._asked.metadata(settings.endpoint, settings.verify_cert)
            async with self._asked.client(settings) as client:
                token = await client.refresh_token(
                    metadata["token_endpoint"], refresh_token=held["refresh_token"]
                )
        except (client_errors.OAuthError, oauth_errors.OAuth2Error) as error:
            log.info("the provider refused to renew a user's sign-in", user_id=user_id, error=error.error)
            return False
        except (ProviderError, httpx.HTTPError) as error:
            log.warning("the provider cannot be asked for a user", error=type(error).__name__)
            return True
        renewed = token.get("refresh_token") or held["refresh_token"]
        fresh = {**held, "refresh_token": renewed, "at": time.time()}
        text = self._keys.encrypt("oidc-token", json.dumps(fresh).encode())
        await self._db.write(
            lambda c: c.execute(update(oidc_users).where(oidc_users.c.user_id == user_id).values(token=text))
        )
        self._checked[user_id] = time.monotonic() + _RECHECK_SECONDS
        return True

    async def why_ended(self, user: Principal) -> str:
        """Since when and why the provider refuses the user, after `still_valid` said no."""
        sealed = await self._db.point(
            lambda c: c.execute(select(oidc_users.c.token).where(oidc_users.c.user_id == user.id)).scalar()
        )
        since = ""
        if sealed:
            at = json.loads(self._keys.decrypt("oidc-token", sealed))["at"]
            since = f" after {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}"
        return (
            f"the CLI secret of {user.name} has ended: the identity provider has refused to renew the sign-in"
            f"{since}; sign in to the portal once more"
        )

    async def end_session_url(self, back: str, name: str = DEFAULT) -> str | None:
        """Where to send the browser to sign out at the provider too, if configured and offered."""
        source = await self._sources.usable(name, OIDC)
        settings = _settings(source) if source is not None else None
        if settings is None or not settings.logout:
            return None
        try:
            metadata = await self._asked.metadata(settings.endpoint, settings.verify_cert)
        except ProviderError:
            return None
        end = metadata.get("end_session_endpoint")
        if not isinstance(end, str):
            return None
        query = {"client_id": settings.client_id, "post_logout_redirect_uri": back}
        return f"{end}{'&' if '?' in end else '?'}{urlencode(query)}"

    async def ping(self, url: str, verify: bool) -> None:
        """Read a provider's discovery document. Raises InvalidError saying what is wrong."""
        try:
            await self._asked.metadata(url, verify)
        except ProviderError as error:
            raise InvalidError(str(error)) from None


def _known(connection: Connection, source: str, issuer: str, subject: str) -> Principal | None:
    user_id = identities.find(connection, source, issuer, subject)
    return principal_of(connection, users_table.c.id == user_id) if user_id is not None else None


def _settings(source: Source) -> OidcSettings:
    return OidcSettings(**{name: source.values[name] for name in OidcSettings.__slots__})
