"""Several sources of identity at once: nobody gets another's account, whatever names they have there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from seawall.access import access, identities, members, users
from seawall.access.accounts import LocalAccounts
from seawall.access.identities import GONE
from seawall.access.oidc_provider import Identity
from seawall.access.principal import EndedError, Principal
from seawall.access.sources import Change, Sources
from seawall.access.tables import (
    identity_sources,
    oidc_users,
    project_members,
    sessions,
    user_groups,
    user_identities,
)
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from tests.support.lab import Lab, Run
from tests.support.processes import free_port
from tests.support.servers.slapd import ADMIN_DN, ADMIN_PASSWORD, GROUPS, PEOPLE, Slapd

FIRST, SECOND = "First-password-1", "Second-password-2"
PROVIDER = {"endpoint": "https://id.example", "client_id": "seawall", "client_secret": "Secret-12345"}


def opened(root: Any) -> Slapd:
    server = Slapd(root, free_port())
    server.start()
    return server


@pytest.fixture
def directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slapd, Slapd]]:
    """Two directories of other people with the same names, down to the DNs."""
    both = [opened(tmp_path_factory.mktemp("slapd")) for _ in range(2)]
    yield both[0], both[1]
    for server in both:
        server.stop()


def items(directory: Slapd) -> dict[str, Any]:
    return {
        "url": directory.url,
        "search_dn": ADMIN_DN,
        "search_password": ADMIN_PASSWORD,
        "base_dn": PEOPLE,
        "uid": "uid",
        "group_base_dn": GROUPS,
        "group_attribute_name": "cn",
    }


async def use(lab: Lab, directory: Slapd, **more: Any) -> None:
    values = {f"ldap_{name}": value for name, value in items(directory).items()}
    await lab.services.configuration.set({"auth_mode": "ldap_auth", **values, **more})


async def add(lab: Lab, name: str, directory: Slapd, **parts: Any) -> None:
    await lab.services.sources.add(name, "ldap", Change(configuration=items(directory), **parts))


async def provider(lab: Lab, name: str, **parts: Any) -> None:
    await lab.services.sources.add(name, "oidc", Change(configuration=PROVIDER, **parts))


async def login(lab: Lab, name: str, password: str) -> Principal | None:
    return await lab.services.auth.authenticate(name, password, "192.0.2.1")


async def user_id(lab: Lab, name: str) -> int:
    found = await lab.db.read(lambda c: users.find(c, None, name))
    assert found is not None, name
    return found[0]


def person(name: str, source: str, *groups: str, subject: str | None = None, prefix: str = "") -> Identity:
    """Somebody whom a provider names so; `alice` has one mail address everywhere."""
    return Identity(
        "https://id.example",
        subject or f"{source}-{name}",
        name,
        f"{name.removeprefix(prefix)}@example.com",
        name,
        groups,
        False,
        None,
        source,
        prefix,
    )


async def arrive(lab: Lab, who: Identity) -> Principal | None:
    return await lab.services.oidc.arrive(who, onboard_as=who.username)


def test_one_name_in_two_directories(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """The same name, DN and mail address: two people, with the rights of their own."""
    first, second = directories
    first.add_user("ann", FIRST)
    second.add_user("ann", SECOND)

    async def body(lab: Lab) -> None:
        await use(lab, first)
        await add(lab, "corp", second)
        ann, other = await login(lab, "ann", FIRST), await login(lab, "corp-ann", SECOND)
        assert ann
        assert other
        assert (ann.name, other.name) == ("ann", "corp-ann")
        assert ann.id != other.id
        # By the name that she has there she is who she is, too, and nobody else.
        again = await login(lab, "ann", SECOND)
        assert again
        assert again.id == other.id
        # Where names have no prefix, who comes second is refused, with the reason.
        await lab.services.sources.change("corp", Change(prefix=""))
        second.add_user("bea", SECOND)
        first.add_user("bea", FIRST)
        bea = await login(lab, "bea", FIRST)
        assert bea
        assert bea.name == "bea"
        with pytest.raises(EndedError, match="somebody else's account"):
            await login(lab, "bea", SECOND)
        assert (await login(lab, "bea", FIRST)) is not None

    run(body)


def test_a_name_is_asked_first_where_it_is_of(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """An entry of one directory that is called like another one's user takes no password of hers."""
    first, second = directories
    for name in ("late-eve", "late-ida", "ida"):
        first.add_user(name, SECOND)
    for name in ("eve", "ida"):
        second.add_user(name, SECOND)

    async def body(lab: Lab) -> None:
        await add(lab, "early", first)
        await add(lab, "late", second)
        # Who has yet to come, by the prefix; who has come, by the source that knows her.
        for name in ("late-eve", "late-ida"):
            found = await login(lab, name, SECOND)
            assert found
            assert (found.name, found.source) == (name, "late")

    run(body)


def test_an_entry_that_was_renamed_or_made_again(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """The account follows the entry, and not its name."""
    first, _ = directories
    dn = first.add_user("carl", FIRST)

    async def body(lab: Lab) -> None:
        await use(lab, first)
        carl = await login(lab, "carl", FIRST)
        assert carl
        first.rename(dn, "carlo")
        same = await login(lab, "carlo", FIRST)
        assert same
        assert (same.id, same.name) == (carl.id, "carl")
        # Somebody else is called so now, and Carl has left.
        first.add_user("carl", SECOND)
        with pytest.raises(EndedError):
            await login(lab, "carl", SECOND)
        first.remove(f"uid=carlo,{PEOPLE}")
        with pytest.raises(EndedError):
            await login(lab, "carl", SECOND)
        assert not await lab.services.directory.knows(carl.id, "carl")
        found = await lab.db.read(lambda c: identities.of_user(c, carl.id))
        assert [item.subject.partition(":")[0] for item in found] == ["entryuuid"]
        first.remove(f"uid=carl,{PEOPLE}")

    run(body)


def test_users_from_before_subjects(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """A user of the one directory, made by an older version, is found by name once, and by none but it."""
    first, second = directories
    first.add_user("dora", FIRST)
    second.add_user("dora", SECOND)

    async def body(lab: Lab) -> None:
        await use(lab, first)
        await add(lab, "corp", second, prefix="")
        old = await lab.db.write(lambda c: users.create(c, "dora", None))
        with pytest.raises(EndedError):
            await login(lab, "dora", SECOND)
        dora = await login(lab, "dora", FIRST)
        assert dora
        assert dora.id == old
        first.remove(f"uid=dora,{PEOPLE}")
        first.add_user("dora", FIRST)
        lab.services.auth._outside.clear()
        with pytest.raises(EndedError):
            await login(lab, "dora", FIRST)

    run(body)


def test_groups_are_of_their_source(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """A group of the same name and DN gives no role, and administers nothing, for another source."""
    first, second = directories
    first.add_group("staff", first.add_user("eli", FIRST))
    second.add_group("staff", second.add_user("eli", SECOND))

    async def body(lab: Lab) -> None:
        await use(lab, first, ldap_group_admin_dn=f"cn=staff,{GROUPS}")
        await add(lab, "corp", second)
        project = await lab.project("secret", public=False)
        eli, other = await login(lab, "eli", FIRST), await login(lab, "corp-eli", SECOND)
        assert eli
        assert other
        assert (eli.sysadmin, other.sysadmin) == (True, False)

        def give(connection: Any) -> None:
            found = members.find_group(connection, "staff", members.LDAP, f"cn=staff,{GROUPS}")
            assert found is not None
            members.add(connection, project, "developer", group_id=found)

        await lab.db.write(give)
        for item, visible in ((eli, True), (other, False)):
            stored = await lab.services.auth.user_by_id(item.id)
            assert stored
            query = access.visible(stored)
            assert query is not None
            seen = await lab.db.read(lambda c, query=query: set(c.execute(query).scalars()))  # type: ignore[misc]
            assert (project in seen) is visible
        names = await lab.db.read(lambda c: set(c.execute(select(user_groups.c.name)).scalars()))
        assert {"staff", "corp:staff"} <= names
        # And the other way round.
        await lab.services.sources.change("corp", Change(admin_group=f"CN=Staff, {GROUPS}"))
        await lab.services.configuration.set({"ldap_group_admin_dn": ""})
        lab.services.auth._outside.clear()
        eli, other = await login(lab, "eli", FIRST), await login(lab, "corp-eli", SECOND)
        assert eli
        assert other
        assert (eli.sysadmin, other.sysadmin) == (False, True)

    run(body)


def test_a_directory_that_is_away(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """Its users are not called wrong, it is named, and the others sign in."""
    first, _ = directories
    first.add_user("finn", FIRST)

    async def body(lab: Lab) -> None:
        gone = f"ldap://127.0.0.1:{free_port()}"
        await use(lab, first)
        await lab.services.sources.add(
            "away", "ldap", Change(configuration={**items(first), "url": gone}, position=0)
        )
        finn = await login(lab, "finn", FIRST)
        assert finn
        # Wrong for the only directory that knows him.
        assert await login(lab, "finn", "wrong") is None
        for _ in range(2):
            with pytest.raises(UnavailableError, match="away"):
                await login(lab, "stranger", "whatever-12345")

    run(body)


def test_a_directory_never_sees_a_local_users_password(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """Who runs a directory could otherwise read what is typed for `admin`."""
    first, _ = directories
    first.add_user("gil", FIRST)

    async def body(lab: Lab) -> None:
        await add(lab, "corp", first, prefix="")
        await LocalAccounts(lab.db).create_user("gil", SECOND)
        assert await login(lab, "gil", FIRST) is None
        local = await login(lab, "gil", SECOND)
        assert local
        assert await lab.db.read(lambda c: users.is_local(c, local.id))

    run(body)


def test_same_subject_name_and_mail_at_two_providers(run: Run) -> None:
    """Two clients of one provider, even, are two sources."""

    async def body(lab: Lab) -> None:
        await provider(lab, "one", prefix="")
        await provider(lab, "two", prefix="")
        first = await arrive(lab, person("alice", "one", subject="same"))
        assert first
        with pytest.raises(ConflictError):
            await arrive(lab, person("alice", "two", subject="same"))
        with pytest.raises(ConflictError):
            await arrive(lab, person("ALICE", "two", subject="same"))
        other = await arrive(lab, Identity(**{**vars_of(person("alice", "two")), "username": "alice2"}))
        assert other
        assert other.id != first.id
        mails = await lab.db.read(lambda c: [users.by_id(c, n).email for n in (first.id, other.id)])  # type: ignore[union-attr]
        assert mails == ["alice@example.com", None]
        # A name is nothing to the default provider either.
        with pytest.raises(ConflictError):
            await arrive(lab, person("alice", "", subject="same"))
        rows = await lab.db.read(lambda c: c.execute(select(oidc_users.c.issuer)).scalars().all())
        assert len(set(rows)) == 2

    run(body)


def vars_of(who: Identity) -> dict[str, Any]:
    return {name: getattr(who, name) for name in Identity.__slots__}


def test_group_names_of_providers(run: Run) -> None:
    """`admins` of three providers are three groups; a provider cannot name the group of another."""

    async def body(lab: Lab) -> None:
        await provider(lab, "one", prefix="one-")
        await provider(lab, "two", prefix="two-")
        who = [
            await arrive(lab, person("alice", "", "admins", "one:admins")),
            await arrive(lab, person("one-alice", "one", "admins", "two:admins", prefix="one-")),
            await arrive(lab, person("two-alice", "two", "admins", prefix="two-")),
        ]
        held = [set(item.groups) for item in who if item]
        query = select(user_groups.c.id, user_groups.c.name)
        rows = await lab.db.read(lambda c: {row[0]: row[1] for row in c.execute(query)})
        assert [{rows[number] for number in groups} for groups in held] == [
            {"admins"},
            {"one:admins", "one:two:admins"},
            {"two:admins"},
        ]
        # A group that an administrator makes by that name is the source's, and cannot become another's.
        made = await lab.db.write(lambda c: members.create_group(c, "two:ops", members.OIDC))
        two = await arrive(lab, person("two-alice", "two", "ops", prefix="two-"))
        assert two
        assert two.groups == (made,)
        with pytest.raises(InvalidError):
            await lab.db.write(lambda c: members.rename_group(c, made, "ops"))
        # Nor does a new source find groups that were given roles before.
        await lab.db.write(lambda c: members.create_group(c, "three:ops", members.OIDC))
        with pytest.raises(ConflictError, match="three:"):
            await provider(lab, "three")

    run(body)


def test_names_that_look_like_anothers(run: Run) -> None:
    """A name that somebody chooses is never one that a source's user would have."""

    async def body(lab: Lab) -> None:
        await provider(lab, "corp")
        await provider(lab, "other", prefix="")
        with pytest.raises(ConflictError, match="source corp"):
            await LocalAccounts(lab.db).create_user("corp-alice", FIRST)
        with pytest.raises(ConflictError, match="source corp"):
            await lab.db.write(lambda c: users.create(c, "CORP-alice", "hash"))
        with pytest.raises(ConflictError, match="source corp"):
            await arrive(lab, person("corp-alice", "other"))
        # What a new user of corp chooses begins as names of corp do.
        with pytest.raises(InvalidError, match="corp-"):
            await arrive(lab, person("alice", "corp", prefix="corp-"))
        alice = await arrive(lab, person("corp-alice", "corp", prefix="corp-"))
        assert alice
        assert alice.name == "corp-alice"

    run(body)


def test_from_a_directory_to_a_provider(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """Users keep their ids and roles; then the directory is left, with nobody deleted."""
    first, _ = directories
    for name in ("hal", "ida"):
        first.add_user(name, FIRST)

    async def body(lab: Lab) -> None:
        await use(lab, first)
        hal = await login(lab, "hal", FIRST)
        assert hal
        ida = await lab.db.write(lambda c: users.create(c, "ida", None))
        project = await lab.project("kept", public=False)
        await lab.db.write(lambda c: members.add(c, project, "projectAdmin", user_id=hal.id))
        await provider(lab, "company")
        refused = {"auth_mode": "db_auth"}
        with pytest.raises(InvalidError, match="auth_mode cannot be changed"):
            await lab.services.configuration.set(refused)
        issuer = "https://id.example"
        await lab.db.write(lambda c: identities.link(c, hal.id, "company", issuer, "sub-hal"))
        # One who never signed in since the upgrade keeps the directory's way in, too.
        await lab.db.write(lambda c: identities.link(c, ida, "company", issuer, "sub-ida"))
        for name, number in (("hal", hal.id), ("ida", ida)):
            came = await arrive(lab, person(f"company-{name}", "company", subject=f"sub-{name}"))
            assert came
            assert (came.id, came.name) == (number, name)
            there = await login(lab, name, FIRST)
            assert there
            assert there.id == number
        roles = await lab.db.read(lambda c: c.execute(select(project_members.c.role)).scalars().all())
        assert roles == ["projectAdmin"]
        # Nobody is linked twice, and nobody else's identity is taken.
        with pytest.raises(ConflictError, match="already"):
            await lab.db.write(lambda c: identities.link(c, hal.id, "company", issuer, "another"))
        with pytest.raises(ConflictError, match="is user ida here"):
            await lab.db.write(lambda c: identities.link(c, 1, "company", issuer, "sub-ida"))
        await lab.services.configuration.set({"auth_mode": "db_auth"})
        lab.services.auth._outside.clear()
        assert await login(lab, "hal", FIRST) is None
        came = await arrive(lab, person("company-hal", "company", subject="sub-hal"))
        assert came
        assert came.id == hal.id

    run(body)


def test_a_source_that_is_removed(run: Run, directories: tuple[Slapd, Slapd]) -> None:
    """Its users stay as they are, signed out; nobody of the same name elsewhere gets their accounts."""
    first, second = directories
    first.add_user("jo", FIRST)
    second.add_group("crew", second.add_user("jo", SECOND))

    async def body(lab: Lab) -> None:
        await add(lab, "corp", second, prefix="")
        jo = await login(lab, "jo", SECOND)
        assert jo
        assert jo.source == "corp"
        token = await lab.services.sessions.create(jo.id, data={"source": "corp"})
        await lab.services.sources.remove("corp")
        lab.services.auth._outside.clear()
        assert await lab.services.sessions.get(token) is None
        assert await lab.db.read(lambda c: c.execute(select(sessions.c.id_hash)).first()) is None
        assert await lab.db.read(lambda c: c.execute(select(user_groups.c.id)).first()) is None
        assert await login(lab, "jo", SECOND) is None
        assert await user_id(lab, "jo") == jo.id
        assert not await lab.services.directory.knows(jo.id, "jo")
        # Neither the default directory's Jo, nor that of a new source of the old name.
        await add(lab, "corp", first, prefix="")
        with pytest.raises(EndedError):
            await login(lab, "jo", FIRST)
        await lab.services.sources.remove("corp")
        found = await lab.db.read(lambda c: identities.of_user(c, jo.id))
        assert [item.source for item in found] == [GONE]
        assert await lab.db.read(lambda c: identities.unclaimed(c, "jo")) is None
        # An administrator may link the account again.
        await add(lab, "new", second)
        source = await lab.services.sources.get("new")
        subject = await lab.services.directory.subject_of(source, "jo")
        await lab.db.write(lambda c: identities.link(c, jo.id, "new", "", subject))
        again = await login(lab, "jo", SECOND)
        assert again
        assert again.id == jo.id

    run(body)


def test_unlinking_and_switching_off(run: Run) -> None:
    """Groups of a source count no longer than the source does."""

    async def body(lab: Lab) -> None:
        await provider(lab, "one", prefix="")
        await provider(lab, "two")
        alice = await arrive(lab, person("alice", "one", "team"))
        assert alice
        await lab.db.write(lambda c: identities.link(c, alice.id, "two", "https://id.example", "x"))
        both = await arrive(lab, person("two-alice", "two", "team", subject="x", prefix="two-"))
        assert both
        assert both.id == alice.id
        assert len(both.groups) == 2
        await lab.services.sources.change("two", Change(enabled=False))
        left = await lab.services.auth.user_by_id(alice.id)
        assert left
        assert left.groups == alice.groups
        assert await lab.services.oidc.still_valid(alice.id)
        await lab.services.sources.change("one", Change(enabled=False))
        # A CLI secret is nothing without a provider that knows its user.
        assert not await lab.services.oidc.still_valid(alice.id)
        await lab.db.write(lambda c: identities.unlink(c, alice.id, "one"))
        with pytest.raises(NotFoundError):
            await lab.db.write(lambda c: identities.unlink(c, alice.id, "one"))
        await lab.services.sources.change("one", Change(enabled=True))
        with pytest.raises(ConflictError):
            await arrive(lab, person("alice", "one", "team"))

    run(body)


def test_what_a_source_may_say(run: Run) -> None:
    """Bad configuration is refused with the reason; secrets are sealed, and go to their server only."""

    async def body(lab: Lab) -> None:
        sources = lab.services.sources
        for name, kind, given, reason in (
            ("Corp", "oidc", PROVIDER, "lower-case"),
            ("local", "oidc", PROVIDER, "lower-case"),
            ("corp", "saml", PROVIDER, "ldap or oidc"),
            ("corp", "oidc", {"endpoint": "https://x.example"}, "client_id"),
            ("corp", "oidc", {**PROVIDER, "endpont": "x"}, "endpoint"),
            ("corp", "oidc", {**PROVIDER, "endpoint": "ftp://x"}, "URL"),
            ("corp", "ldap", {"url": "ldap://x", "scope": 7}, "scope"),
            ("corp", "ldap", {"url": "ldap://x", "group_admin_dn": "cn=x"}, "group_admin_dn"),
        ):
            with pytest.raises(InvalidError, match=reason):
                await sources.add(name, kind, Change(configuration=given))
        with pytest.raises(InvalidError, match="prefix"):
            await sources.add("corp", "oidc", Change(configuration=PROVIDER, prefix="a b"))
        await provider(lab, "corp")
        with pytest.raises(ConflictError):
            await provider(lab, "corp")
        with pytest.raises(ConflictError, match="that of source corp"):
            await provider(lab, "corp2", prefix="corp-")
        apart = Sources(lab.db, lab.services.configuration, lab.services.keys, peers=True)
        with pytest.raises(InvalidError, match="needs a prefix"):
            await apart.change("corp", Change(prefix=""))
        found = await sources.get("corp")
        assert found.values["client_secret"] == PROVIDER["client_secret"]
        assert "client_secret" not in sources.shown(found)
        stored = await lab.db.read(lambda c: c.execute(select(identity_sources.c.configuration)).scalar_one())
        assert stored["client_secret"].startswith("sealed:")
        with pytest.raises(InvalidError, match="give client_secret too"):
            await sources.change("corp", Change(configuration={"endpoint": "https://evil.example"}))
        await sources.change("corp", Change(configuration={"scope": "openid"}, title="The company"))
        found = await sources.get("corp")
        assert (found.title, found.values["scope"]) == ("The company", "openid")
        assert found.values["client_secret"] == PROVIDER["client_secret"]
        with pytest.raises(NotFoundError):
            await sources.get("crop")

    run(body)


def test_an_account_is_made_for_one_identity(run: Run) -> None:
    """One account was made for one identity at most, so that two peers cannot give it to two people."""

    async def body(lab: Lab) -> None:
        made = await lab.db.write(lambda c: users.create(c, "kim", None))

        def twice(connection: Any) -> list[Any]:
            identities.add(connection, made, "one", "i", "a", made=True)
            identities.add(connection, made, "two", "i", "a", made=True)
            return list(connection.execute(select(user_identities.c.made_user_id)).scalars())

        assert sorted(await lab.db.write(twice), key=str) == [made, None]

    run(body)
