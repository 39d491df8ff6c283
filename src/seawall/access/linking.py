"""Which identity an administrator means who links a user to a source."""

from __future__ import annotations

import re

from seawall.access.dn import normal_dn
from seawall.access.ldap import Directory
from seawall.access.oidc import OidcService
from seawall.access.oidc_provider import ProviderError
from seawall.access.sources import LDAP, OIDC, Sources
from seawall.kernel.errors import InvalidError

_OF_DIRECTORY = re.compile(
    r"(?:entryuuid|objectguid):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|nsuniqueid:[0-9a-f-]{8,64}"
)


async def identity_in(
    sources: Sources,
    directory: Directory,
    oidc: OidcService,
    name: str,
    subject: str | None,
    username: str | None,
) -> tuple[str, str]:
    """(issuer, subject) of a user of the source `name`, "" for the default one.

    A directory is asked for its user `username`; a provider's user is given by its `subject` (`sub`). Raises
    NotFoundError; InvalidError, also when the source cannot be asked.
    """
    if name:
        source = await sources.get(name)
    else:
        ldap, provider = await sources.default(LDAP), await sources.default(OIDC)
        source = ldap if ldap.enabled else provider
        if not source.enabled:
            raise InvalidError("auth_mode is db_auth: name a source")
    if source.kind == LDAP:
        if username:
            return "", await directory.subject_of(source, username)
        return "", _of_directory(subject or "")
    if not subject or not subject.isprintable():
        raise InvalidError("a provider knows its users by a subject (the claim sub)")
    try:
        return await oidc.issuer_of(source), subject
    except ProviderError as error:
        raise InvalidError(str(error)) from None


def _of_directory(text: str) -> str:
    """A subject as it is stored. Raises InvalidError."""
    if text.startswith("dn:"):
        normal = normal_dn(text[3:])
        if normal and normal.isprintable():
            return f"dn:{normal}"[:512]
    elif _OF_DIRECTORY.fullmatch(text.lower()):
        return text.lower()
    raise InvalidError(
        "name the user in the directory, or a subject: entryuuid:, objectguid: or nsuniqueid: and the value, "
        "or dn: and the DN"
    )
